package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// errPartial means that an answer is not complete, which says nothing about the row as a whole.
var errPartial = errors.New("partial answer")

// operations make an operation on a row each, with chance for what is open and a value that nobody
// else writes. Those named several times are made more often.
var operations = []func(r *rand.Rand, fresh string) *operation{
	getOne, getOne, getOne, existsOne, ttlOne, countAll, getSome, getSome, getAll, listAll,
	setOne, setOne, setOne, delOne, setSome, setSome, delSome, incrOne, incrOne, incrOne,
	exchangeOne, exchangeOne, checkAndSetOne, checkAndMutateSome,
}

func getOne(r *rand.Rand, _ string) *operation { return get(r.IntN(plainRecords)) }

func get(i int) *operation {
	return &operation{
		name: "get " + string(sortKeys[i]),
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			return orAbsent(on.Get(ctx, hashKey, sortKeys[i]))
		},
		model: func(s row, _ times) (row, string) { return s, s[i].value },
	}
}

func existsOne(r *rand.Rand, _ string) *operation {
	i := r.IntN(len(row{}))
	return &operation{
		name: "exist " + string(sortKeys[i]),
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			exists, err := on.Exist(ctx, hashKey, sortKeys[i])
			return strconv.FormatBool(exists), err
		},
		model: func(s row, _ times) (row, string) { return s, strconv.FormatBool(s[i].exists()) },
	}
}

func ttlOne(r *rand.Rand, _ string) *operation {
	i := r.IntN(len(row{}))
	return &operation{
		name: "ttl " + string(sortKeys[i]),
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			left, expires, err := on.TTL(ctx, hashKey, sortKeys[i])
			switch {
			case errors.Is(err, pegasus.ErrNotFound):
				return "not found", nil
			case err == nil && !expires:
				return "stays", nil
			}
			return fmt.Sprint("expires in ", left), err
		},
		model: func(s row, at times) (row, string) {
			switch r := s[i]; {
			case !r.exists():
				return s, "not found"
			case r.expires == 0:
				return s, "stays"
			default:
				return s, fmt.Sprint("expires in ", lasting(r.expires-at.now))
			}
		},
	}
}

func countAll(*rand.Rand, string) *operation {
	return &operation{
		name: "sort key count",
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			count, err := on.SortKeyCount(ctx, hashKey)
			return strconv.FormatInt(count, 10), err
		},
		model: func(s row, _ times) (row, string) { return s, strconv.Itoa(len(s.present())) },
	}
}

// present returns the indexes of the records that exist.
func (s row) present() (indexes []int) {
	for i := range s {
		if s[i].exists() {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// show describes records of the row, those that exist.
func (s row) show(indexes []int) string {
	var text strings.Builder
	for _, i := range indexes {
		if s[i].exists() {
			fmt.Fprintf(&text, "%s=%s ", sortKeys[i], s[i].value)
		}
	}
	return text.String()
}

// showRecords describes records as row.show does.
func showRecords(records []pegasus.Record) string {
	var text strings.Builder
	for _, record := range records {
		fmt.Fprintf(&text, "%s=%s ", record.SortKey, record.Value)
	}
	return text.String()
}

// some returns the indexes of at least one of the plain records, in ascending order.
func some(r *rand.Rand) (indexes []int) {
	chosen := 1 + r.IntN(1<<plainRecords-1)
	for i := range plainRecords {
		if chosen>>i&1 != 0 {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

func keysOf(indexes []int) (keys [][]byte) {
	for _, i := range indexes {
		keys = append(keys, sortKeys[i])
	}
	return keys
}

func getSome(r *rand.Rand, _ string) *operation {
	indexes := some(r)
	return &operation{
		name: fmt.Sprintf("multi get %s", keysOf(indexes)),
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			result, err := on.MultiGet(ctx, hashKey, keysOf(indexes), nil)
			if err != nil {
				return "", err
			}
			if !result.Complete {
				return "", errPartial
			}
			return showRecords(result.Records), nil
		},
		model: func(s row, _ times) (row, string) { return s, s.show(indexes) },
	}
}

func getAll(r *rand.Rand, _ string) *operation {
	reverse := r.IntN(2) == 0
	return &operation{
		name: "multi get range",
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			result, err := on.MultiGetRange(ctx, hashKey, nil, nil, &pegasus.RangeOptions{Reverse: reverse})
			if err != nil {
				return "", err
			}
			if !result.Complete {
				return "", errPartial
			}
			return showRecords(result.Records), nil
		},
		model: func(s row, _ times) (row, string) { return s, s.show(s.present()) },
	}
}

func listAll(*rand.Rand, string) *operation {
	return &operation{
		name: "multi get sort keys",
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			keys, complete, err := on.MultiGetSortKeys(ctx, hashKey, nil)
			if err == nil && !complete {
				err = errPartial
			}
			return fmt.Sprintf("%s", keys), err
		},
		model: func(s row, _ times) (row, string) { return s, fmt.Sprintf("%s", keysOf(s.present())) },
	}
}

// lifetime returns how many seconds what a write writes has to live: for ever, as often as not.
func lifetime(r *rand.Rand) int64 { return max(r.Int64N(4)-1, 0) }

func lasting(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }

func setOne(r *rand.Rand, fresh string) *operation {
	return set(r.IntN(plainRecords), fresh, lifetime(r))
}

func set(i int, fresh string, ttl int64) *operation {
	return &operation{
		name: fmt.Sprintf("set %s=%s", sortKeys[i], fresh), write: true, fresh: fresh, ttl: ttl,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			return "", on.Set(ctx, hashKey, sortKeys[i], []byte(fresh), pegasus.WithTTL(lasting(ttl)))
		},
		model: func(s row, at times) (row, string) { return s.with(i, fresh, at), "" },
	}
}

// with returns the row with a record written anew.
func (s row) with(i int, value string, at times) row {
	s[i] = record{value, at.expires}
	return s
}

func delOne(r *rand.Rand, _ string) *operation { return del(r.IntN(len(row{}))) }

func del(i int) *operation {
	return &operation{
		name: "del " + string(sortKeys[i]), write: true,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			return "", on.Del(ctx, hashKey, sortKeys[i])
		},
		model: func(s row, _ times) (row, string) { return s.without(i), "" },
	}
}

// without returns the row without some records.
func (s row) without(indexes ...int) row {
	for _, i := range indexes {
		s[i] = record{}
	}
	return s
}

func setSome(r *rand.Rand, fresh string) *operation {
	indexes, ttl := some(r), lifetime(r)
	var records []pegasus.Record
	for _, i := range indexes {
		records = append(records, pegasus.Record{SortKey: sortKeys[i], Value: []byte(fresh)})
	}
	return &operation{
		name: fmt.Sprintf("multi set %s=%s", keysOf(indexes), fresh), write: true, fresh: fresh, ttl: ttl,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			return "", on.MultiSet(ctx, hashKey, records, pegasus.WithTTL(lasting(ttl)))
		},
		model: func(s row, at times) (row, string) {
			for _, i := range indexes {
				s = s.with(i, fresh, at)
			}
			return s, ""
		},
	}
}

func delSome(r *rand.Rand, _ string) *operation {
	indexes := some(r)
	return &operation{
		name: fmt.Sprintf("multi del %s", keysOf(indexes)), write: true,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			count, err := on.MultiDel(ctx, hashKey, keysOf(indexes))
			return strconv.FormatInt(count, 10), err
		},
		model: func(s row, _ times) (row, string) {
			return s.without(indexes...), strconv.Itoa(len(indexes))
		},
	}
}

// incrOne keeps, sets or removes the time that the counter has to live.
func incrOne(r *rand.Rand, _ string) *operation {
	increment, ttl, keeps := 1+r.Int64N(9), lifetime(r), r.IntN(2) == 0
	var option pegasus.IncrOption = pegasus.WithoutTTL()
	switch {
	case keeps:
		ttl, option = 0, nil
	case ttl > 0:
		option = pegasus.WithTTL(lasting(ttl))
	}
	return &operation{
		name: fmt.Sprintf("incr by %d, keeping its TTL %t", increment, keeps), write: true, ttl: ttl,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			sum, err := on.Incr(ctx, hashKey, sortKeys[counter], increment, option)
			return strconv.FormatInt(sum, 10), err
		},
		model: func(s row, at times) (row, string) {
			if keeps {
				at.expires = s[counter].expires
			}
			before, _ := strconv.ParseInt(s[counter].value, 10, 64) // 0 for one that does not exist
			sum := strconv.FormatInt(before+increment, 10)
			return s.with(counter, sum, at), sum
		},
	}
}

// exchangeOne wants the record not to exist, or to have a value that some operation left lately.
func exchangeOne(r *rand.Rand, fresh string) *operation {
	i, expected, ttl := r.IntN(plainRecords), guess(r, fresh), lifetime(r)
	return &operation{
		name: fmt.Sprintf("compare exchange %s %s=%s", expected, sortKeys[i], fresh), write: true, fresh: fresh, ttl: ttl,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			swapped, actual, err := on.CompareExchange(ctx, hashKey, sortKeys[i], expected, []byte(fresh), pegasus.WithTTL(lasting(ttl)))
			return fmt.Sprintf("%t %s", swapped, actual), err
		},
		model: func(s row, at times) (row, string) {
			before := s[i].value
			if before == string(expected) {
				s = s.with(i, fresh, at)
			}
			return s, fmt.Sprintf("%t %s", before == string(expected), before)
		},
	}
}

// guess returns the value that the same caller made last or the one before, or nil.
func guess(r *rand.Rand, fresh string) []byte {
	var caller, number int
	if _, err := fmt.Sscanf(fresh, "<%d-%d>", &caller, &number); err == nil && r.IntN(3) > 0 {
		return []byte(value(caller, number-1-r.IntN(2)))
	}
	return nil
}

func checkAndSetOne(r *rand.Rand, fresh string) *operation {
	i, j, kind, ttl := r.IntN(len(row{})), r.IntN(plainRecords), pegasus.CheckExist, lifetime(r)
	if r.IntN(2) == 0 {
		kind = pegasus.CheckNotExist
	}
	check := pegasus.Check{SortKey: sortKeys[i], Type: kind}
	return &operation{
		name: fmt.Sprintf("check %s %d and set %s=%s", sortKeys[i], kind, sortKeys[j], fresh), write: true, fresh: fresh, ttl: ttl,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			result, err := on.CheckAndSet(ctx, hashKey, check, sortKeys[j], []byte(fresh),
				&pegasus.CheckOptions{ReturnValue: true, TTL: lasting(ttl)})
			return fmt.Sprintf("%t %s", result.Passed, result.Value), err
		},
		model: func(s row, at times) (row, string) {
			checked := s[i]
			passed := checked.exists() == (kind == pegasus.CheckExist)
			if passed {
				s = s.with(j, fresh, at)
			}
			return s, fmt.Sprintf("%t %s", passed, checked.value)
		},
	}
}

// checkAndMutateSome moves the existence of one record to others.
func checkAndMutateSome(r *rand.Rand, fresh string) *operation {
	i, indexes, ttl := r.IntN(plainRecords), some(r), lifetime(r)
	mutations := []pegasus.Mutation{{SortKey: sortKeys[i], Delete: true}}
	for _, j := range indexes {
		mutations = append(mutations, pegasus.Mutation{SortKey: sortKeys[j], Value: []byte(fresh), TTL: lasting(ttl)})
	}
	return &operation{
		name: fmt.Sprintf("check %s and mutate %s=%s", sortKeys[i], keysOf(indexes), fresh), write: true, fresh: fresh, ttl: ttl,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			check := pegasus.Check{SortKey: sortKeys[i], Type: pegasus.CheckExist}
			result, err := on.CheckAndMutate(ctx, hashKey, check, mutations, nil)
			return strconv.FormatBool(result.Passed), err
		},
		model: func(s row, at times) (row, string) {
			if !s[i].exists() {
				return s, "false"
			}
			s = s.without(i)
			for _, j := range indexes {
				s = s.with(j, fresh, at)
			}
			return s, "true"
		},
	}
}

// dropAll is what becomes of a row when its table is dropped. Nobody performs it.
var dropAll = &operation{
	name: "drop", write: true, drops: true,
	model: func(row, times) (row, string) { return row{}, "" },
}
