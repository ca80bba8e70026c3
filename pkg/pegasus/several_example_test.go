package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

func ExampleTable_MultiGet() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	ada := []byte("user 1")
	if err := users.MultiSet(ctx, ada, []pegasus.Record{
		{SortKey: []byte("name"), Value: []byte("Ada")},
		{SortKey: []byte("born"), Value: []byte("1815")},
	}); err != nil {
		fmt.Println(err)
		return
	}

	found, err := users.MultiGet(ctx, ada, [][]byte{[]byte("name"), []byte("died"), []byte("born")}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, record := range found.Records {
		fmt.Printf("%s: %s\n", record.SortKey, record.Value)
	}
	fmt.Println(found.Complete)
	// Output:
	// name: Ada
	// born: 1815
	// true
}

func ExampleTable_MultiGetRange() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	visits := []byte("visits of user 1")
	for day := 1; day <= 5; day++ {
		_ = users.Set(ctx, visits, fmt.Appendf(nil, "2030-01-%02d", day), nil)
	}

	// Two at a time, the latest first.
	var start, stopKey []byte
	options := &pegasus.RangeOptions{MaxCount: 2, NoValue: true, Reverse: true}
	for {
		page, err := users.MultiGetRange(ctx, visits, start, stopKey, options)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, record := range page.Records { // ascending within the answer
			fmt.Printf("%s\n", record.SortKey)
		}
		fmt.Println("--")
		if page.Next == nil {
			break
		}
		start, stopKey, options = page.Next.StartSortKey, page.Next.StopSortKey, page.Next.Options
	}
	// Output:
	// 2030-01-04
	// 2030-01-05
	// --
	// 2030-01-02
	// 2030-01-03
	// --
	// 2030-01-01
	// --
}

func ExampleTable_MultiGetAll() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	visits := []byte("visits of user 1")
	for day := 1; day <= 5; day++ {
		_ = users.Set(ctx, visits, fmt.Appendf(nil, "2030-01-%02d", day), nil)
	}

	latest := users.MultiGetAll(ctx, visits, nil, nil, &pegasus.RangeOptions{Reverse: true})
	for record, err := range latest {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s\n", record.SortKey)
		if string(record.SortKey) == "2030-01-03" {
			break
		}
	}
	// Output:
	// 2030-01-05
	// 2030-01-04
	// 2030-01-03
}

func ExampleTable_MultiGetSortKeys() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	_ = users.MultiSet(ctx, []byte("user 1"), []pegasus.Record{{SortKey: []byte("name")}, {SortKey: []byte("born")}})

	sortKeys, complete, err := users.MultiGetSortKeys(ctx, []byte("user 1"), nil)
	fmt.Printf("%s %v %v\n", sortKeys, complete, err)
	// Output: [born name] true <nil>
}

func ExampleTable_MultiDel() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	_ = users.MultiSet(ctx, []byte("user 1"), []pegasus.Record{{SortKey: []byte("name")}, {SortKey: []byte("born")}})

	count, err := users.MultiDel(ctx, []byte("user 1"), [][]byte{[]byte("name"), []byte("no such record")})
	fmt.Println(count, err)
	left, err := users.SortKeyCount(ctx, []byte("user 1"))
	fmt.Println(left, err)
	// Output:
	// 2 <nil>
	// 1 <nil>
}

func ExampleTable_Incr() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	visits := func(increment int64, options ...pegasus.IncrOption) {
		sum, err := users.Incr(ctx, []byte("user 1"), []byte("visits"), increment, options...)
		var overflow *pegasus.OverflowError
		var failure *pegasus.Error
		switch {
		case errors.As(err, &overflow):
			fmt.Println("too many:", overflow.Value)
		case errors.Is(err, pegasus.ErrNotInteger):
			fmt.Println("not a counter")
		case errors.As(err, &failure) && failure.Outcome == pegasus.InDoubt:
			fmt.Println("counted, or not") // Incr has not tried again, and neither should we
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println(sum)
		}
	}
	visits(1)
	visits(41, pegasus.WithTTL(24*time.Hour))
	visits(math.MaxInt64)
	visits(-42, pegasus.WithoutTTL())
	// Output:
	// 1
	// 42
	// too many: 42
	// 0
}

func ExampleTable_CheckAndSet() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()

	// Take the name if nobody has it.
	free := pegasus.Check{SortKey: []byte("owner"), Type: pegasus.CheckNotExist}
	for _, user := range []string{"user 1", "user 2"} {
		result, err := users.CheckAndSet(ctx, []byte("name ada"), free, free.SortKey, []byte(user),
			&pegasus.CheckOptions{ReturnValue: true})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%v, was %q\n", result.Passed, result.Value)
	}
	// Output:
	// true, was ""
	// false, was "user 1"
}

func ExampleTable_CheckAndMutate() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	cart := []byte("cart 7")
	_ = users.MultiSet(ctx, cart, []pegasus.Record{
		{SortKey: []byte("version"), Value: []byte("1")},
		{SortKey: []byte("tea"), Value: []byte("2 packets")},
	})

	// All or nothing, and only if nobody was faster.
	unchanged := pegasus.Check{SortKey: []byte("version"), Type: pegasus.CheckBytesEqual, Operand: []byte("1")}
	for range 2 {
		result, err := users.CheckAndMutate(ctx, cart, unchanged, []pegasus.Mutation{
			{SortKey: []byte("version"), Value: []byte("2")},
			{SortKey: []byte("coffee"), Value: []byte("1 packet")},
			{SortKey: []byte("tea"), Delete: true},
		}, nil)
		fmt.Println(result.Passed, err)
	}
	// Output:
	// true <nil>
	// false <nil>
}

func ExampleTable_CompareExchange() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	door := []byte("door")
	for _, expected := range [][]byte{nil, []byte("shut"), []byte("open")} {
		swapped, actual, err := users.CompareExchange(ctx, door, nil, expected, []byte("open"))
		fmt.Printf("%v %q %v\n", swapped, actual, err)
	}
	// Output:
	// true "" <nil>
	// false "open" <nil>
	// true "open" <nil>
}
