package conformance

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/stretchr/testify/require"
)

// freeField is a field of results that a cluster is free to fill, within limits.
type freeField struct {
	topic, exchanges string // where; empty: everywhere. exchanges is a prefix of names
	path             string // of the field, lists are passed through
	class            func(reflect.Value) string
	reason           string
}

// freeFields are the fields whose values need not be the recorded ones. Their classes have to agree: a log
// position that is not negative, say, must not become -1.
var freeFields = []freeField{
	{path: "Origin.Server", class: emptiness, reason: "every cluster has its own addresses"},
	{path: "Decree", class: sign, reason: "real logs also contain entries that are no writes, and earlier writes were not recorded"},
	{path: "ContextID", class: contextKind, reason: "counts from a random number for each replica"},
	{path: "Partitions.Ballot", class: sign, reason: "counts the changes of configuration since the table exists"},
	{path: "Partitions.LastCommittedDecree", class: anything, reason: "not current, by docs/protocol.md"},
	{path: "Partitions.Primary", class: emptiness, reason: "every cluster has its own addresses and places replicas as it likes"},
	{path: "Partitions.Secondaries", class: count, reason: "as the primary"},
	{path: "Partitions.LastDrops", class: count, reason: "as the primary"},
	{path: "Partitions.PrimaryName", class: emptiness, reason: "as the primary"},
	{path: "Partitions.SecondaryNames", class: count, reason: "as the primary"},
	{path: "Partitions.LastDropNames", class: count, reason: "as the primary"},
	{topic: "scan", exchanges: "multi_get_time_limit", path: "Records", class: anything, reason: "depends on the speed of the server"},
	{topic: "scan", exchanges: "time_limit", path: "Records", class: anything, reason: "depends on the speed of the server"},
	{topic: "scan", exchanges: "time_limit", path: "Count", class: anything, reason: "depends on the speed of the server"},
}

// Classes of values. The values of a free field must be of the same class.

func anything(reflect.Value) string { return "" }

func emptiness(v reflect.Value) string {
	return fmt.Sprint("empty: ", v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0)
}

// count also tells lists that are there without elements from those that are not there.
func count(v reflect.Value) string { return fmt.Sprint("elements: ", v.Len(), " there: ", !v.IsNil()) }

func sign(v reflect.Value) string {
	return fmt.Sprint("negative: ", v.Int() < 0, " zero: ", v.Int() == 0)
}

func contextKind(v reflect.Value) string {
	switch v.Int() {
	case wire.ScanComplete:
		return "complete"
	case wire.ScanNoContext:
		return "none"
	}
	return "to be continued"
}

func (f *freeField) covers(e *exchange) bool {
	return (f.topic == "" || f.topic == e.Topic) &&
		strings.HasPrefix(e.Name, f.exchanges)
}

// free takes over the values of free fields from one result into the other, both of the same type, having
// checked that they are of the same class.
func free(t require.TestingT, e *exchange, into, from message) {
	for i := range freeFields {
		if f := &freeFields[i]; f.covers(e) {
			f.take(t, e, reflect.ValueOf(into).Elem(), reflect.ValueOf(from).Elem(), strings.Split(f.path, "."))
		}
	}
}

// take returns how many values it took.
func (f *freeField) take(t require.TestingT, e *exchange, into, from reflect.Value, path []string) (taken int) {
	if into.Kind() == reflect.Slice && len(path) > 0 {
		for i := range min(into.Len(), from.Len()) {
			taken += f.take(t, e, into.Index(i), from.Index(i), path)
		}
		return taken
	}
	if len(path) > 0 {
		if into.Kind() != reflect.Struct || !into.FieldByName(path[0]).IsValid() {
			return 0
		}
		return f.take(t, e, into.FieldByName(path[0]), from.FieldByName(path[0]), path[1:])
	}
	require.Equal(t, f.class(into), f.class(from), "%v: %s: recorded %v, got %v", e, f.path, into, from)
	into.Set(from)
	return 1
}

func TestFreeFieldsAreReasonedAndNeeded(t *testing.T) {
	for i := range freeFields {
		f := &freeFields[i]
		require.NotEmpty(t, f.reason, f.path)
		require.Positive(t, f.uses(t), "%s %s: nothing has this field", f.exchanges, f.path)
		require.False(t, slices.ContainsFunc(freeFields[:i], func(other freeField) bool {
			return other.path == f.path && other.exchanges == f.exchanges && other.topic == f.topic
		}), f.path)
	}
}

// uses counts the recorded values of a free field.
func (f *freeField) uses(t *testing.T) (uses int) {
	for _, topics := range recorded(t) {
		for _, list := range topics {
			for _, e := range list {
				if !f.covers(e) || len(e.Response) == 0 {
					continue
				}
				a, b := decodeAnswer(t, e, e.Response), decodeAnswer(t, e, e.Response)
				if a.result != nil {
					uses += f.take(t, e, reflect.ValueOf(a.result).Elem(), reflect.ValueOf(b.result).Elem(), strings.Split(f.path, "."))
				}
			}
		}
	}
	return uses
}

func TestClasses(t *testing.T) {
	of := func(class func(reflect.Value) string, value any) string { return class(reflect.ValueOf(value)) }
	require.NotEqual(t, of(sign, int64(-1)), of(sign, int64(1)))
	require.NotEqual(t, of(sign, int64(0)), of(sign, int64(1)))
	require.Equal(t, of(sign, int64(2)), of(sign, int64(1)))
	require.Equal(t, of(contextKind, int64(-2)), of(contextKind, int64(1)), "ids can be negative")
	require.NotEqual(t, of(contextKind, int64(-1)), of(contextKind, int64(1)))
	require.NotEqual(t, of(contextKind, int64(0)), of(contextKind, int64(1)))
	require.NotEqual(t, of(emptiness, []byte{}), of(emptiness, []byte("h:1")))
	require.NotEqual(t, of(emptiness, wire.HostPort{}), of(emptiness, wire.HostPort{Host: "h", Port: 1}))
	require.NotEqual(t, of(count, []wire.HostPort(nil)), of(count, []wire.HostPort{}))
	require.NotEqual(t, of(count, make([]wire.HostPort, 1)), of(count, make([]wire.HostPort, 2)))
}
