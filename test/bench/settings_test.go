package main

import (
	"flag"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func names(operations []operation) (names []string) {
	for _, op := range operations {
		names = append(names, op.name)
	}
	return names
}

func TestDefaults(t *testing.T) {
	s, err := parseSettings(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []int{1, 16, 64, 256}, s.callers)
	require.Equal(t, []string{
		"woken_get", "get", "append_get", "set", "multi_get", "multi_set", "batch_get", "get_100_in_turn",
		"get_100_at_once", "scan",
	}, names(s.operations))
	require.Equal(t, time.Second, s.duration)
	require.Equal(t, 3, s.rounds)
	require.Equal(t, 10_000, s.records)
	require.Equal(t, 100, s.valueSize)
	require.Zero(t, s.deadline)
	require.False(t, s.serve)
}

func TestLists(t *testing.T) {
	s, err := parseSettings([]string{"-callers", "8, 2,8", "-ops", "set,get"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, []int{8, 2}, s.callers, "each once, in the order given")
	require.Equal(t, []string{"get", "set"}, names(s.operations), "those of one kind stay together")
}

func TestQuickGivesWay(t *testing.T) {
	s, err := parseSettings([]string{"-quick"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, quickDuration, s.duration)
	require.Equal(t, 1, s.rounds)
	require.Len(t, s.callers, 4, "all code paths")

	s, err = parseSettings([]string{"-duration", "1s", "-quick", "-rounds", "3"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, time.Second, s.duration)
	require.Equal(t, 3, s.rounds)
}

func TestRefusedFlags(t *testing.T) {
	for _, test := range []struct {
		flags []string
		want  string
	}{
		{[]string{"-callers", ""}, `"" is not a number from 1 to 4096`},
		{[]string{"-callers", "1,x"}, `"x" is not a number`},
		{[]string{"-callers", "0"}, `"0" is not a number`},
		{[]string{"-callers", "4097"}, `"4097" is not a number`},
		{[]string{"-ops", ""}, `unknown operation ""`},
		{[]string{"-ops", "get,incr"}, `unknown operation "incr"`},
		{[]string{"-meta", "a:1"}, "-meta and -table go together"},
		{[]string{"-table", "t"}, "-meta and -table go together"},
		{[]string{"-duration", "1us"}, "-duration"},
		{[]string{"-duration", "2h"}, "-duration"},
		{[]string{"-rounds", "0"}, "-rounds"},
		{[]string{"-rounds", "1001"}, "-rounds"},
		{[]string{"-records", "255"}, "-records"},
		{[]string{"-records", "1000001"}, "-records"},
		{[]string{"-value-size", "-1"}, "-value-size"},
		{[]string{"-value-size", "65537"}, "-value-size"},
		{[]string{"-scan-records", "-1"}, "-scan-records"},
		{[]string{"-servers", "0"}, "-servers"},
		{[]string{"-servers", "17"}, "-servers"},
		{[]string{"-deadline", "-1s"}, "-deadline"},
		{[]string{"-processors", "1"}, `-processors: "1" is neither apart nor together`},
		{[]string{"-processors", "apart", "-meta", "a:1", "-table", "t"}, "-processors"},
		{[]string{"-processors", "apart", "-open-loop"}, "-processors and -open-loop"},
		{[]string{"-unknown"}, "-unknown"},
		{[]string{"get"}, `unexpected argument "get"`},
	} {
		_, err := parseSettings(test.flags, io.Discard)
		require.ErrorContains(t, err, test.want, test.flags)
		require.NotErrorIs(t, err, flag.ErrHelp)
	}
}
