package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

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
		model: func(s row) (row, string) { return s, s[i] },
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
		model: func(s row) (row, string) { return s, strconv.FormatBool(s[i] != absent) },
	}
}

func ttlOne(r *rand.Rand, _ string) *operation {
	i := r.IntN(len(row{}))
	return &operation{
		name: "ttl " + string(sortKeys[i]),
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			_, expires, err := on.TTL(ctx, hashKey, sortKeys[i])
			if errors.Is(err, pegasus.ErrNotFound) {
				return "not found", nil
			}
			return fmt.Sprint("expires ", expires), err
		},
		model: func(s row) (row, string) {
			if s[i] == absent {
				return s, "not found"
			}
			return s, "expires false"
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
		model: func(s row) (row, string) { return s, strconv.Itoa(len(s.present())) },
	}
}

// present returns the indexes of the records that exist.
func (s row) present() (indexes []int) {
	for i, value := range s {
		if value != absent {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// show describes records of the row, those that exist.
func (s row) show(indexes []int) string {
	var text strings.Builder
	for _, i := range indexes {
		if s[i] != absent {
			fmt.Fprintf(&text, "%s=%s ", sortKeys[i], s[i])
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
		model: func(s row) (row, string) { return s, s.show(indexes) },
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
		model: func(s row) (row, string) { return s, s.show(s.present()) },
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
		model: func(s row) (row, string) { return s, fmt.Sprintf("%s", keysOf(s.present())) },
	}
}

func setOne(r *rand.Rand, fresh string) *operation { return set(r.IntN(plainRecords), fresh) }

func set(i int, fresh string) *operation {
	return &operation{
		name: fmt.Sprintf("set %s=%s", sortKeys[i], fresh), write: true, fresh: fresh,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			return "", on.Set(ctx, hashKey, sortKeys[i], []byte(fresh))
		},
		model: func(s row) (row, string) { return s.with(i, fresh), "" },
	}
}

// with returns the row with another value of a record.
func (s row) with(i int, value string) row {
	s[i] = value
	return s
}

func delOne(r *rand.Rand, _ string) *operation { return del(r.IntN(len(row{}))) }

func del(i int) *operation {
	return &operation{
		name: "del " + string(sortKeys[i]), write: true,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			return "", on.Del(ctx, hashKey, sortKeys[i])
		},
		model: func(s row) (row, string) { return s.with(i, absent), "" },
	}
}

func setSome(r *rand.Rand, fresh string) *operation {
	indexes := some(r)
	var records []pegasus.Record
	for _, i := range indexes {
		records = append(records, pegasus.Record{SortKey: sortKeys[i], Value: []byte(fresh)})
	}
	return &operation{
		name: fmt.Sprintf("multi set %s=%s", keysOf(indexes), fresh), write: true, fresh: fresh,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			return "", on.MultiSet(ctx, hashKey, records)
		},
		model: func(s row) (row, string) {
			for _, i := range indexes {
				s[i] = fresh
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
		model: func(s row) (row, string) {
			for _, i := range indexes {
				s[i] = absent
			}
			return s, strconv.Itoa(len(indexes))
		},
	}
}

func incrOne(r *rand.Rand, _ string) *operation {
	increment := 1 + r.Int64N(9)
	return &operation{
		name: fmt.Sprint("incr by ", increment), write: true,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			sum, err := on.Incr(ctx, hashKey, sortKeys[counter], increment)
			return strconv.FormatInt(sum, 10), err
		},
		model: func(s row) (row, string) {
			before, _ := strconv.ParseInt(s[counter], 10, 64) // 0 for one that does not exist
			s[counter] = strconv.FormatInt(before+increment, 10)
			return s, s[counter]
		},
	}
}

// exchangeOne wants the record not to exist, or to have a value that some operation left lately.
func exchangeOne(r *rand.Rand, fresh string) *operation {
	i, expected := r.IntN(plainRecords), guess(r, fresh)
	return &operation{
		name: fmt.Sprintf("compare exchange %s %s=%s", expected, sortKeys[i], fresh), write: true, fresh: fresh,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			swapped, actual, err := on.CompareExchange(ctx, hashKey, sortKeys[i], expected, []byte(fresh))
			return fmt.Sprintf("%t %s", swapped, actual), err
		},
		model: func(s row) (row, string) {
			before := s[i]
			if before == string(expected) {
				s[i] = fresh
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
	i, j, kind := r.IntN(len(row{})), r.IntN(plainRecords), pegasus.CheckExist
	if r.IntN(2) == 0 {
		kind = pegasus.CheckNotExist
	}
	check := pegasus.Check{SortKey: sortKeys[i], Type: kind}
	return &operation{
		name: fmt.Sprintf("check %s %d and set %s=%s", sortKeys[i], kind, sortKeys[j], fresh), write: true, fresh: fresh,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			result, err := on.CheckAndSet(ctx, hashKey, check, sortKeys[j], []byte(fresh), &pegasus.CheckOptions{ReturnValue: true})
			return fmt.Sprintf("%t %s", result.Passed, result.Value), err
		},
		model: func(s row) (row, string) {
			checked := s[i]
			passed := (checked != absent) == (kind == pegasus.CheckExist)
			if passed {
				s[j] = fresh
			}
			return s, fmt.Sprintf("%t %s", passed, checked)
		},
	}
}

// checkAndMutateSome moves the existence of one record to others.
func checkAndMutateSome(r *rand.Rand, fresh string) *operation {
	i, indexes := r.IntN(plainRecords), some(r)
	mutations := []pegasus.Mutation{{SortKey: sortKeys[i], Delete: true}}
	for _, j := range indexes {
		mutations = append(mutations, pegasus.Mutation{SortKey: sortKeys[j], Value: []byte(fresh)})
	}
	return &operation{
		name: fmt.Sprintf("check %s and mutate %s=%s", sortKeys[i], keysOf(indexes), fresh), write: true, fresh: fresh,
		perform: func(ctx context.Context, on database, hashKey []byte) (string, error) {
			check := pegasus.Check{SortKey: sortKeys[i], Type: pegasus.CheckExist}
			result, err := on.CheckAndMutate(ctx, hashKey, check, mutations, nil)
			return strconv.FormatBool(result.Passed), err
		},
		model: func(s row) (row, string) {
			if s[i] == absent {
				return s, "false"
			}
			s[i] = absent
			for _, j := range indexes {
				s[j] = fresh
			}
			return s, "true"
		},
	}
}
