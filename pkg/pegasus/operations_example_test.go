package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

func ExampleTable_Get() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	if err := users.Set(ctx, []byte("user 1"), []byte("name"), []byte("Ada")); err != nil {
		fmt.Println(err)
		return
	}
	for _, user := range []string{"user 1", "user 2"} {
		name, err := users.Get(ctx, []byte(user), []byte("name"))
		switch {
		case errors.Is(err, pegasus.ErrNotFound):
			fmt.Println(user, "does not exist")
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Printf("%s is %s\n", user, name)
		}
	}
	// Output:
	// user 1 is Ada
	// user 2 does not exist
}

func ExampleTable_TTL() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	session := []byte("session 7")
	remaining := func() {
		left, expires, err := users.TTL(ctx, session, nil)
		switch {
		case errors.Is(err, pegasus.ErrNotFound):
			fmt.Println("no such record")
		case err != nil:
			fmt.Println(err)
		case !expires:
			fmt.Println("for ever")
		default:
			fmt.Println(left.Round(time.Minute))
		}
	}
	remaining()
	_ = users.Set(ctx, session, nil, []byte("Ada"), pegasus.WithTTL(time.Hour))
	remaining()
	_ = users.Set(ctx, session, nil, []byte("Ada")) // overwrites the TTL as well
	remaining()
	// Output:
	// no such record
	// 1h0m0s
	// for ever
}

func ExampleWithMetadata() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()

	var first, second pegasus.Metadata
	_ = users.Set(ctx, []byte("user 1"), []byte("name"), []byte("Ada"), pegasus.WithMetadata(&first))
	_ = users.Set(ctx, []byte("user 1"), []byte("born"), []byte("1815"), pegasus.WithMetadata(&second))
	fmt.Println(first.Partition.PartitionIndex == second.Partition.PartitionIndex, second.Decree-first.Decree)
	// Output: true 1
}

func ExampleTable_Scan() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	for day := 1; day <= 5; day++ {
		_ = users.Set(ctx, []byte("visits of user 1"), fmt.Appendf(nil, "2030-01-%02d", day), []byte("home"))
	}

	visits, from, to := []byte("visits of user 1"), []byte("2030-01-02"), []byte("2030-01-04")
	for record, err := range users.Scan(ctx, visits, from, to, nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %s\n", record.SortKey, record.Value)
	}
	// Output:
	// 2030-01-02: home
	// 2030-01-03: home
}

func ExampleTable_ScanTable() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	_ = users.Set(ctx, []byte("user 1"), []byte("name"), []byte("Ada"))
	_ = users.Set(ctx, []byte("user 1"), []byte("born"), []byte("1815"))
	_ = users.Set(ctx, []byte("session 7"), nil, []byte("user 1"))

	names := &pegasus.ScanOptions{
		HashKeyFilter: pegasus.Filter{Type: pegasus.FilterPrefix, Pattern: []byte("user ")},
		SortKeyFilter: pegasus.Filter{Type: pegasus.FilterAnywhere, Pattern: []byte("name")},
	}
	for record, err := range users.ScanTable(ctx, names) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %s\n", record.HashKey, record.Value)
	}
	// Output: user 1: Ada
}

func ExampleTable_TableScanners() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	for user := range 100 {
		_ = users.Set(ctx, fmt.Appendf(nil, "user %d", user), []byte("name"), nil)
	}

	scanners, err := users.TableScanners(4, &pegasus.ScanOptions{NoValue: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	found := make([]int, len(scanners))
	var scanning sync.WaitGroup
	for i, scanner := range scanners {
		scanning.Go(func() {
			defer scanner.Close()
			for {
				_, err := scanner.Next(ctx)
				if errors.Is(err, io.EOF) {
					return
				}
				if err != nil {
					fmt.Println(err)
					return
				}
				found[i]++
			}
		})
	}
	scanning.Wait()
	fmt.Println(found[0] + found[1] + found[2] + found[3])
	// Output: 100
}

func ExampleTable_ResumeScanner() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	for day := 1; day <= 3; day++ {
		_ = users.Set(ctx, []byte("visits"), fmt.Appendf(nil, "2030-01-%02d", day), nil)
	}
	scanner, err := users.NewScanner([]byte("visits"), nil, nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := scanner.Next(ctx)
	fmt.Printf("%s %v\n", record.SortKey, err)

	cursor := scanner.Cursor() // to be kept in a file, say
	scanner.Close()

	resumed, err := users.ResumeScanner(cursor, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resumed.Close()
	record, err = resumed.Next(ctx)
	fmt.Printf("%s %v\n", record.SortKey, err)
	// Output:
	// 2030-01-01 <nil>
	// 2030-01-02 <nil>
}

func ExampleTable_CountTable() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	for user := range 100 {
		_ = users.Set(ctx, fmt.Appendf(nil, "user %d", user), []byte("name"), nil)
	}
	tens := &pegasus.ScanOptions{HashKeyFilter: pegasus.Filter{Type: pegasus.FilterPostfix, Pattern: []byte("0")}}
	count, err := users.CountTable(ctx, tens)
	fmt.Println(count, err)
	// Output: 10 <nil>
}

func ExampleTable_DelRange() {
	cluster, users, stop := openUsers(pegasus.WithRetry(retry.Policy{MaxAttempts: 1}))
	defer stop()
	ctx := context.Background()
	visits := []byte("visits of user 1")
	for day := 1; day <= 31; day++ {
		_ = users.Set(ctx, visits, fmt.Appendf(nil, "2030-01-%02d", day), nil)
	}
	var requests atomic.Int64 // the first one to delete passes, the second one does not
	busy := func(r *onebox.Request) bool { return r.Is(wire.MultiRemove) && requests.Inc() == 2 }
	for _, server := range cluster.Replicas() {
		server.Inject(onebox.Fault{Match: busy, Error: wire.ErrBusy})
	}

	from, to := []byte("2030-01-01"), []byte("2030-01-21")
	options := &pegasus.DelRangeOptions{BatchSize: 8}
	for range 3 {
		deleted, err := users.DelRange(ctx, visits, from, to, options)
		fmt.Println(deleted, "deleted")
		var failure *pegasus.DelRangeError
		if !errors.As(err, &failure) {
			break // done, or the arguments were refused
		}
		if failure.NextSortKey != nil {
			from, options.StartExclusive = failure.NextSortKey, false
		}
	}
	left, err := users.SortKeyCount(ctx, visits)
	fmt.Println(left, err)
	// Output:
	// 8 deleted
	// 12 deleted
	// 11 <nil>
}

func ExampleTable_CheckAndSet_lock() {
	cluster, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	for _, server := range cluster.Replicas() { // each executes one request and breaks off before it answers
		server.Inject(onebox.Fault{Match: onebox.OnMethod(wire.CheckAndSet), CloseAfter: true, Times: 1})
	}

	// A lock. Who takes it writes a token of its own, by which it recognises its own work.
	lock, token := []byte("lock 3"), []byte("holder 17, try 1")
	free := pegasus.Check{Type: pegasus.CheckNotExist}
	result, err := users.CheckAndSet(ctx, lock, free, nil, token, &pegasus.CheckOptions{TTL: time.Minute})
	held := result.Passed
	var failure *pegasus.Error
	if errors.As(err, &failure) && failure.Outcome == pegasus.InDoubt {
		holder, readErr := users.Get(ctx, lock, nil)
		held, err = string(holder) == string(token), readErr
	}
	fmt.Println(held, err)
	// Output: true <nil>
}
