package model_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// done is the answer of writes that have no other.
const done = "done"

// refused puts the refusal of arguments in words. Of several reasons the client may give any.
func refused(answered string, reasons ...error) (want string, isRefused bool) {
	for _, reason := range reasons {
		if reason != nil && answered == reason.Error() {
			return answered, true
		}
	}
	for _, reason := range reasons {
		if reason != nil {
			return reason.Error(), true
		}
	}
	return "", false
}

// invalidTTL is the reason to refuse a TTL, if there is one.
func invalidTTL(ttl time.Duration) error {
	if ttl < 0 {
		return pegasus.ErrInvalidTTL
	}
	return nil
}

// asked has the operation tell who has answered it.
func (m *machine) asked() pegasus.MetadataOption { return pegasus.WithMetadata(m.origin) }

// get reads a record with Get or, into memory with something in it, AppendGet.
func (m *machine) get(t *rapid.T) {
	k, appends := drawKey(t), rapid.Bool().Draw(t, "append")
	m.run(t, operation{
		name: "get", kind: reading, on: k.hashed(), tells: true,
		call: func(ctx context.Context) (string, error) {
			if !appends {
				value, err := m.table.Get(ctx, m.lend(k.hash), m.lend(k.sort), m.asked())
				return found(m.keep(value), value != nil), err
			}
			value, err := m.table.AppendGet(ctx, []byte("before "), m.lend(k.hash), m.lend(k.sort), m.asked())
			return found(string(value)[len("before "):], true), err
		},
		effect: func(w *world, _ string) string {
			r, ok := w.get(k)
			if !ok {
				return "not found"
			}
			return found(r.value, true)
		},
	})
}

// found puts a value in words.
func found(value string, exists bool) string {
	if !exists {
		return "nothing"
	}
	return fmt.Sprintf("found %q", value)
}

func (m *machine) exist(t *rapid.T) {
	k := drawKey(t)
	m.run(t, operation{
		name: "exist", kind: reading, on: k.hashed(), tells: true,
		call: func(ctx context.Context) (string, error) {
			exists, err := m.table.Exist(ctx, m.lend(k.hash), m.lend(k.sort), m.asked())
			return fmt.Sprint(exists), err
		},
		effect: func(w *world, _ string) string {
			_, ok := w.get(k)
			return fmt.Sprint(ok)
		},
	})
}

func (m *machine) ttl(t *rapid.T) {
	k := drawKey(t)
	m.run(t, operation{
		name: "ttl", kind: reading, on: k.hashed(), tells: true,
		call: func(ctx context.Context) (string, error) {
			left, expires, err := m.table.TTL(ctx, m.lend(k.hash), m.lend(k.sort), m.asked())
			return timeLeft(left, expires), err
		},
		effect: func(w *world, _ string) string {
			r, ok := w.get(k)
			if !ok {
				return "not found"
			}
			if r.expires == 0 {
				return timeLeft(0, false)
			}
			return timeLeft(time.Duration(r.expires-w.now)*time.Second, true)
		},
	})
}

func timeLeft(left time.Duration, expires bool) string { return fmt.Sprintln(left, "left:", expires) }

func (m *machine) set(t *rapid.T) {
	k, value, ttl := drawKey(t), aValue.Draw(t, "value"), aTTL.Draw(t, "TTL")
	m.run(t, operation{
		name: "set", kind: writing, on: k.hashed(), tells: true,
		call: func(ctx context.Context) (string, error) {
			options := []pegasus.WriteOption{m.asked()}
			if ttl != 0 {
				options = append(options, pegasus.WithTTL(ttl))
			}
			return done, m.table.Set(ctx, m.lend(k.hash), m.lend(k.sort), m.lend(value), options...)
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, invalidTTL(ttl)); isRefused {
				return want
			}
			w.put(k, value, w.expiry(ttl))
			return done
		},
	})
}

func (m *machine) del(t *rapid.T) {
	k := drawKey(t)
	m.run(t, operation{
		name: "del", kind: writing, on: k.hashed(), tells: true,
		call: func(ctx context.Context) (string, error) {
			return done, m.table.Del(ctx, m.lend(k.hash), m.lend(k.sort), m.asked())
		},
		effect: func(w *world, _ string) string {
			w.del(k)
			return done
		},
	})
}

// incr adds, and keeps the record's expiry, sets it or clears it.
func (m *machine) incr(t *rapid.T) {
	k, by := drawKey(t), rapid.SampledFrom(increments).Draw(t, "increment")
	ttl, clears := aTTL.Draw(t, "TTL"), rapid.Bool().Draw(t, "clear TTL")
	if clears {
		ttl = 0
	}
	m.run(t, operation{
		name: "incr", kind: counting, on: k.hashed(), tells: true,
		call: func(ctx context.Context) (string, error) {
			options := []pegasus.IncrOption{m.asked()}
			switch {
			case clears:
				options = append(options, pegasus.WithoutTTL())
			case ttl != 0:
				options = append(options, pegasus.WithTTL(ttl))
			}
			sum, err := m.table.Incr(ctx, m.lend(k.hash), m.lend(k.sort), by, options...)
			if err != nil {
				return "", err
			}
			return fmt.Sprint(sum), nil
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, invalidTTL(ttl)); isRefused {
				return want
			}
			return w.incr(k, by, ttl, clears)
		},
	})
}

// incr adds to a number (docs/protocol.md, incr).
func (w *world) incr(k key, by int64, ttl time.Duration, clears bool) string {
	r, _ := w.get(k)
	var old int64
	if r.value != "" {
		var ok bool
		if old, ok = integer(r.value); !ok {
			return pegasus.ErrNotInteger.Error()
		}
	}
	sum := old + by
	if (by > 0) != (sum > old) && by != 0 {
		answer, _ := inWords("", &pegasus.OverflowError{Value: old, Increment: by})
		return answer
	}
	expires := r.expires
	if clears || ttl != 0 {
		expires = w.expiry(ttl)
	}
	w.put(k, fmt.Sprint(sum), expires)
	return fmt.Sprint(sum)
}

// checkOf is a condition of CheckAndSet or CheckAndMutate.
type checkOf struct {
	on        key
	condition pegasus.CheckType
	operand   string
	returns   bool
}

func drawCheck(t *rapid.T) checkOf {
	return checkOf{
		on:        key{aHashKeyOfSeveral.Draw(t, "hash key"), aSortKey.Draw(t, "check sort key")},
		condition: pegasus.CheckType(aCondition.Draw(t, "check")), operand: anOperand.Draw(t, "operand"),
		returns: rapid.Bool().Draw(t, "return value"),
	}
}

// drawSortKey draws a sort key that is often the one of the check, which then has another outcome when it
// is tested again.
func (c *checkOf) drawSortKey(t *rapid.T) string {
	if rapid.Bool().Draw(t, "checked") {
		return c.on.sort
	}
	return aSortKey.Draw(t, "sort key")
}

func (m *machine) lendCheck(c *checkOf) pegasus.Check {
	return pegasus.Check{SortKey: m.lend(c.on.sort), Type: c.condition, Operand: m.lend(c.operand)}
}

// answer puts the result of a check in words, also if it came with an error.
func (m *machine) checked(result pegasus.CheckResult, err error) (string, error) {
	returned := ""
	if result.Returned {
		returned = ", was " + found(m.keep(result.Value), result.Exists)
		if result.Exists != (result.Value != nil) {
			returned += ", nil is wrong"
		}
	}
	if errors.Is(err, pegasus.ErrNotInteger) {
		return pegasus.ErrNotInteger.Error() + returned, nil
	}
	return fmt.Sprintf("passed: %v%s", result.Passed, returned), err
}

// checks tests a condition, and returns what is answered.
func (w *world) checks(c *checkOf) (answer string, isPassed bool) {
	r, exists := w.get(c.on)
	returned := ""
	if c.returns {
		returned = ", was " + found(r.value, exists)
	}
	switch w.check(c.on, c.condition, c.operand) {
	case notInteger:
		return pegasus.ErrNotInteger.Error() + returned, false
	case passed:
		return "passed: true" + returned, true
	}
	return "passed: false" + returned, false
}

func (m *machine) checkAndSet(t *rapid.T) {
	c := drawCheck(t)
	sort, value, ttl := c.drawSortKey(t), aValue.Draw(t, "value"), aTTL.Draw(t, "TTL")
	m.run(t, operation{
		name: "check and set", kind: counting, on: hashed(c.on.hash), tells: true,
		call: func(ctx context.Context) (string, error) {
			return m.checked(m.table.CheckAndSet(ctx, m.lend(c.on.hash), m.lendCheck(&c), m.lend(sort), m.lend(value),
				&pegasus.CheckOptions{TTL: ttl, ReturnValue: c.returns, Metadata: m.origin}))
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(c.on.hash), invalidTTL(ttl)); isRefused {
				return want
			}
			answer, isPassed := w.checks(&c)
			if isPassed {
				w.put(key{c.on.hash, sort}, value, w.expiry(ttl))
			}
			return answer
		},
	})
}

// mutation is a change of CheckAndMutate.
type mutation struct {
	sort, value string
	ttl         time.Duration
	del         bool
}

func (c *checkOf) drawMutation(t *rapid.T) mutation {
	return mutation{
		c.drawSortKey(t), aValue.Draw(t, "value"),
		rapid.SampledFrom(ttls[:len(ttls)-1]).Draw(t, "TTL"), rapid.Bool().Draw(t, "delete"),
	}
}

func (m *machine) checkAndMutate(t *rapid.T) {
	c := drawCheck(t)
	mutations := rapid.SliceOfN(rapid.Custom(c.drawMutation), 0, 3).Draw(t, "mutations")
	m.run(t, operation{
		name: "check and mutate", kind: counting, on: hashed(c.on.hash), tells: true,
		call: func(ctx context.Context) (string, error) {
			changes := make([]pegasus.Mutation, len(mutations))
			for i, c := range mutations {
				changes[i] = pegasus.Mutation{SortKey: m.lend(c.sort), Value: m.lend(c.value), TTL: c.ttl, Delete: c.del}
			}
			return m.checked(m.table.CheckAndMutate(ctx, m.lend(c.on.hash), m.lendCheck(&c), changes,
				&pegasus.CheckOptions{ReturnValue: c.returns, Metadata: m.origin}))
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(c.on.hash), empty(mutations)); isRefused {
				return want
			}
			answer, isPassed := w.checks(&c)
			if isPassed {
				w.mutate(c.on.hash, mutations)
			}
			return answer
		},
	})
}

func (w *world) mutate(hash string, mutations []mutation) {
	for _, c := range mutations {
		if c.del {
			w.del(key{hash, c.sort})
		} else {
			w.put(key{hash, c.sort}, c.value, w.expiry(c.ttl))
		}
	}
}

func (m *machine) compareExchange(t *rapid.T) {
	k := key{aHashKeyOfSeveral.Draw(t, "hash key"), aSortKey.Draw(t, "sort key")}
	expectsNone, expected := rapid.Bool().Draw(t, "expect none"), aValue.Draw(t, "expected")
	desired, ttl := aValue.Draw(t, "desired"), aTTL.Draw(t, "TTL")
	c := checkOf{on: k, condition: pegasus.CheckBytesEqual, operand: expected, returns: true}
	if expectsNone {
		c.condition = pegasus.CheckNotExist
	}
	m.run(t, operation{
		name: "compare exchange", kind: counting, on: hashed(k.hash), tells: true,
		call: func(ctx context.Context) (string, error) {
			old := m.lend(expected)
			if expectsNone {
				old = nil
			}
			swapped, actual, err := m.table.CompareExchange(ctx, m.lend(k.hash), m.lend(k.sort), old, m.lend(desired), pegasus.WithTTL(ttl), m.asked())
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("passed: %v, was %s", swapped, found(m.keep(actual), actual != nil)), nil
		},
		effect: func(w *world, answered string) string {
			if want, isRefused := refused(answered, emptyHashKey(k.hash), invalidTTL(ttl)); isRefused {
				return want
			}
			answer, isPassed := w.checks(&c)
			if isPassed {
				w.put(k, desired, w.expiry(ttl))
			}
			return answer
		},
	})
}
