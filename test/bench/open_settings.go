package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// openSettings are the flags of the open loop.
type openSettings struct {
	on       bool
	rates    []int
	arrivals arrivals
	limit    int
	slow     slowness
	hedgings []hedging

	rateList, arrivalsName, slowText, hedgingList string
}

const (
	maxRate      = 1_000_000
	maxUnderWay  = 100_000
	maxScheduled = 20_000_000 // arrivals in a slice, whose fates are kept
	openServers  = 3
)

func (o *openSettings) define(flags *flag.FlagSet) {
	flags.BoolVar(&o.on, "open-loop", false, "measure latencies of Get at fixed rates of arrival instead, with one slow server and hedged reads")
	flags.StringVar(&o.rateList, "rate", "1000", "operations per second of the open loop, a comma `list`")
	flags.StringVar(&o.arrivalsName, "arrivals", "poisson", "distances of the open loop's arrivals, poisson or even")
	flags.IntVar(&o.limit, "in-flight", 10_000, "operations of the open loop under way at most; those that arrive beyond count as failed")
	flags.StringVar(&o.slowText, "slow", "10%:20ms", "shares of one server's answers and their `delays`, a comma list; nothing: no server is slow")
	flags.StringVar(&o.hedgingList, "hedging", "off,adaptive", "ways of hedging in the open loop, a comma `list` of off, adaptive and fixed delays")
}

func (o *openSettings) parse() (err error) {
	if o.arrivals, err = parseArrivals(o.arrivalsName); err != nil {
		return err
	}
	if o.rates, err = parseRates(o.rateList); err != nil {
		return err
	}
	if o.slow, err = parseSlowness(o.slowText); err != nil {
		return err
	}
	if o.hedgings, err = parseHedgings(o.hedgingList); err != nil {
		return err
	}
	if o.limit < 1 || o.limit > maxUnderWay {
		return fmt.Errorf("-in-flight: %d is not from 1 to %d", o.limit, maxUnderWay)
	}
	return nil
}

// check finds flags that do not go together.
func (o *openSettings) check(s *settings) error {
	switch {
	case !o.on:
		return nil
	case s.meta == "" && s.servers < openServers:
		return fmt.Errorf("-servers: %d are less than the %d that the open loop needs", s.servers, openServers)
	case s.placement != anywhere:
		return errors.New("-processors and -open-loop do not go together")
	case s.cpuProfile != "":
		return errors.New("-cpuprofile and -open-loop do not go together")
	case expected(slices.Max(o.rates), s.duration) > maxScheduled:
		return fmt.Errorf("-rate and -duration: more than %d operations in a slice", maxScheduled)
	}
	return nil
}

func parseRates(list string) ([]int, error) {
	var rates []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 || n > maxRate {
			return nil, fmt.Errorf("-rate: %q is not a number from 1 to %d", text, maxRate)
		}
		if !slices.Contains(rates, n) {
			rates = append(rates, n)
		}
	}
	return rates, nil
}

// hedging is a way to hedge reads.
type hedging struct {
	name    string
	options []pegasus.Option
}

func parseHedgings(list string) ([]hedging, error) {
	var hedgings []hedging
	for text := range strings.SplitSeq(list, ",") {
		h := hedging{name: strings.TrimSpace(text)}
		if slices.ContainsFunc(hedgings, func(o hedging) bool { return o.name == h.name }) {
			continue
		}
		switch h.name {
		case "off":
		case "adaptive":
			h.options = []pegasus.Option{pegasus.WithHedgedReads(pegasus.Hedging{})}
		default:
			delay, err := time.ParseDuration(h.name)
			if err != nil || delay <= 0 || delay > time.Hour {
				return nil, fmt.Errorf("-hedging: %q is neither off nor adaptive nor a delay up to 1h", text)
			}
			h.options = []pegasus.Option{pegasus.WithHedgedReads(pegasus.Hedging{Delay: delay})}
		}
		hedgings = append(hedgings, h)
	}
	return hedgings, nil
}
