package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// floor is the bare pipelined loop for requests of one kind.
type floor struct {
	kind         *kind
	streams      []*stream // in the order of their addresses
	perOperation int       // requests
}

// newFloor makes the requests and connects to the primaries of the table.
func newFloor(k *kind, table pegasus.TableSnapshot, records []record) (*floor, error) {
	requests, err := k.requests(records, len(table.Partitions))
	if err != nil {
		return nil, err
	}
	byAddress := make(map[string]*stream)
	for i := range requests {
		gpid, address, err := locate(table, requests[i].hash)
		if err != nil {
			return nil, err
		}
		if byAddress[address] == nil {
			byAddress[address] = &stream{address: address}
		}
		byAddress[address].add(k, gpid, &requests[i])
	}
	f := &floor{kind: k, perOperation: 1}
	if k.perOperation != nil {
		f.perOperation = k.perOperation(len(table.Partitions))
	}
	for _, address := range slices.Sorted(maps.Keys(byAddress)) {
		s := byAddress[address]
		if err := s.connect(k); err != nil {
			return nil, errors.Join(fmt.Errorf("floor at %s: %w", address, err), f.close())
		}
		f.streams = append(f.streams, s)
	}
	return f, nil
}

// locate returns the partition for a hash and its primary. A child of a split that does not serve yet
// is stood in for by its parent (docs/protocol.md, partition split).
func locate(table pegasus.TableSnapshot, hash uint64) (wire.GPID, string, error) {
	count := len(table.Partitions)
	index := int(hash % uint64(count))
	if table.Partitions[index].Ballot < 0 && index >= count/2 {
		index -= count / 2
	}
	gpid := wire.GPID{AppID: table.AppID, PartitionIndex: int32(index)}
	primary := table.Partitions[index].Primary
	if primary == "" {
		return gpid, "", fmt.Errorf("partition %v has no primary", gpid)
	}
	return gpid, primary, nil
}

// bytesPerOperation implements base: rates in bytes say nothing about single records.
func (f *floor) bytesPerOperation() float64 { return notAvailable }

func (f *floor) name() string { return "floor_" + f.kind.name }

func (f *floor) close() error {
	var errs []error
	for _, s := range f.streams {
		errs = append(errs, s.conn.Close())
	}
	return errors.Join(errs...)
}

// limit has every connection fail if its slice, which starts now, has not ended long after it should:
// an answer was lost then.
func (f *floor) limit(duration time.Duration) error {
	for _, s := range f.streams {
		if err := s.conn.SetDeadline(time.Now().Add(duration + lostAfter)); err != nil {
			return err
		}
	}
	return nil
}

// workers spreads the requests in flight over the connections as the records are spread. If there
// are fewer than connections, each worker takes several connections in turn.
func (f *floor) workers(callers int, duration time.Duration) ([]worker, error) {
	if err := f.limit(duration); err != nil {
		return nil, err
	}
	if inFlight := callers * f.perOperation; inFlight >= len(f.streams) {
		return f.pipelines(inFlight), nil
	}
	return f.roamers(callers), nil
}

func (f *floor) pipelines(requests int) []worker {
	weights := make([]int, len(f.streams))
	for i, s := range f.streams {
		weights[i] = len(s.ends)
	}
	var workers []worker
	for i, share := range shares(requests, weights) {
		if share > 0 {
			workers = append(workers, &pipeline{
				stream: f.streams[i], inFlight: share, perOperation: f.perOperation, latency: newLatency(),
			})
		}
	}
	return workers
}

func (f *floor) roamers(count int) []worker {
	workers := make([]worker, count)
	for i := range workers {
		w := &roamer{latency: newLatency()}
		for j := i; j < len(f.streams); j += count {
			w.streams = append(w.streams, f.streams[j])
		}
		workers[i] = w
	}
	return workers
}

// shares divides a total in proportion to weights into whole numbers that add up to it.
func shares(total int, weights []int) []int {
	var sum, upTo, given int64
	for _, weight := range weights {
		sum += int64(weight)
	}
	result := make([]int, len(weights))
	for i, weight := range weights {
		upTo += int64(weight)
		share := (int64(total)*upTo+sum/2)/sum - given
		given += share
		result[i] = int(share)
	}
	return result
}

// pipeline keeps requests in flight on one connection.
type pipeline struct {
	stream       *stream
	inFlight     int
	perOperation int // requests
	latency      *hdrhistogram.Histogram
}

func (p *pipeline) run(stop *atomic.Bool) (operations int, err error) {
	answers, err := p.answers(stop)
	return answers / p.perOperation, err
}

func (p *pipeline) answers(stop *atomic.Bool) (answers int, err error) {
	departures := newDepartures(p.inFlight)
	now, due, flying := time.Now(), p.inFlight, 0
	for {
		if due > 0 {
			departures.sent(due, now)
			if err := p.stream.send(due); err != nil {
				return answers, err
			}
			flying += due
		}
		if flying == 0 {
			return answers, nil
		}
		answered, err := p.stream.receive()
		if err != nil {
			return answers, err
		}
		now = time.Now()
		departures.answered(answered, now, p.latency)
		flying -= answered
		answers += answered
		if due = answered; stop.Load() {
			due = 0
		}
	}
}

func (p *pipeline) times() *hdrhistogram.Histogram { return p.latency }

// roamer has one request in flight, on one connection after the other.
type roamer struct {
	streams []*stream
	latency *hdrhistogram.Histogram
}

func (w *roamer) run(stop *atomic.Bool) (operations int, err error) {
	for i := 0; ; i = (i + 1) % len(w.streams) {
		began := time.Now()
		if err := w.streams[i].send(1); err != nil {
			return operations, err
		}
		for replies := 0; replies == 0; {
			if replies, err = w.streams[i].receive(); err != nil {
				return operations, err
			}
		}
		noteLatency(w.latency, time.Since(began), 1)
		if operations++; stop.Load() {
			return operations, nil
		}
	}
}

func (w *roamer) times() *hdrhistogram.Histogram { return w.latency }
