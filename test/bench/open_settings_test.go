package main

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpenLoopDefaults(t *testing.T) {
	s, err := parseSettings([]string{"-open-loop"}, io.Discard)
	require.NoError(t, err)
	require.True(t, s.open.on)
	require.Equal(t, openServers, s.servers)
	require.Equal(t, []int{1000}, s.open.rates)
	require.Equal(t, "poisson", s.open.arrivals.name)
	require.Equal(t, "10%:20ms", s.open.slow.String())
	require.Len(t, s.open.hedgings, 2)
	require.Empty(t, s.open.hedgings[0].options, "off")
	require.Len(t, s.open.hedgings[1].options, 1)

	s, err = parseSettings(nil, io.Discard)
	require.NoError(t, err)
	require.False(t, s.open.on)
	require.Equal(t, 1, s.servers)
}

func TestOpenLoopLists(t *testing.T) {
	s, err := parseSettings([]string{
		"-open-loop", "-rate", "500, 20,500", "-hedging", "adaptive, 2ms,off,2ms", "-arrivals", "even",
		"-slow", "", "-servers", "5", "-quick",
	}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []int{500, 20}, s.open.rates, "each once, in the order given")
	require.Equal(t, "even", s.open.arrivals.name)
	require.Nil(t, s.open.slow)
	require.Equal(t, 5, s.servers)
	require.Equal(t, quickDuration, s.duration)
	names := []string{}
	for _, h := range s.open.hedgings {
		names = append(names, h.name)
	}
	require.Equal(t, []string{"adaptive", "2ms", "off"}, names)
}

func TestOpenLoopRefusedFlags(t *testing.T) {
	for _, test := range []struct {
		flags []string
		want  string
	}{
		{[]string{"-rate", "0"}, `"0" is not a number from 1 to 1000000`},
		{[]string{"-rate", "1000001"}, "-rate"},
		{[]string{"-rate", "10,"}, `"" is not a number`},
		{[]string{"-arrivals", "odd"}, `"odd" is neither`},
		{[]string{"-in-flight", "0"}, "-in-flight"},
		{[]string{"-in-flight", "100001"}, "-in-flight"},
		{[]string{"-slow", "20ms"}, "-slow"},
		{[]string{"-hedging", "on"}, `"on" is neither off nor adaptive nor a delay`},
		{[]string{"-hedging", "0s"}, "-hedging"},
		{[]string{"-hedging", "61m"}, "-hedging"},
		{[]string{"-servers", "2"}, "-servers: 2 are less than the 3"},
		{[]string{"-cpuprofile", "cpu.pprof"}, "do not go together"},
		{[]string{"-rate", "1000000", "-duration", "21s"}, "more than 20000000 operations"},
		{[]string{"-rounds", "0"}, "-rounds"},
	} {
		_, err := parseSettings(append([]string{"-open-loop"}, test.flags...), io.Discard)
		require.ErrorContains(t, err, test.want, test.flags)
	}
}
