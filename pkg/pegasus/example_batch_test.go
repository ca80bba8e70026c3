package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

func ExampleTable_BatchGet() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()

	if err := users.Set(ctx, []byte("user 1"), []byte("name"), []byte("Ada")); err != nil {
		fmt.Println(err)
		return
	}
	results, err := users.BatchGet(ctx, []pegasus.Key{
		{HashKey: []byte("user 1"), SortKey: []byte("name")},
		{HashKey: []byte("user 2"), SortKey: []byte("name")},
	}, nil)
	if err != nil {
		fmt.Println(err) // what was found is in the results all the same
	}
	for _, result := range results {
		fmt.Printf("%q %v\n", result.Value, result.Err)
	}
	// Output:
	// "Ada" <nil>
	// "" pegasus: not found
}

func ExampleTable_BatchSet() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()

	records := []pegasus.BatchRecord{
		{HashKey: []byte("user 1"), SortKey: []byte("name"), Value: []byte("Ada")},
		{HashKey: []byte("user 2"), SortKey: []byte("name"), Value: []byte("Grace")},
		{HashKey: []byte("session 7"), Value: []byte("user 1"), TTL: time.Hour},
	}
	_, err := users.BatchSet(ctx, records, nil)
	fmt.Println(err)
	_, err = users.BatchDel(ctx, []pegasus.Key{{HashKey: []byte("user 2"), SortKey: []byte("name")}}, nil)
	fmt.Println(err)
	// Output:
	// <nil>
	// <nil>
}

func ExampleBatchError() {
	cluster, users, stop := openUsers(pegasus.WithRetryDoubtfulWrites(false))
	defer stop()
	ctx := context.Background()

	records := []pegasus.BatchRecord{
		{HashKey: []byte("user 1"), SortKey: []byte("name"), Value: []byte("Ada")},
		{HashKey: []byte("user 2"), SortKey: []byte("name"), Value: []byte("Grace"), TTL: -time.Hour},
	}
	for _, server := range cluster.Replicas() { // each executes the request and breaks off before it answers
		server.Inject(onebox.Fault{Match: onebox.OnMethod(wire.Put), CloseAfter: true})
	}
	errs, err := users.BatchSet(ctx, records, nil)
	var failure *pegasus.BatchError
	if errors.As(err, &failure) {
		fmt.Println(len(failure.Failed), "failed,", failure.InDoubt, "in doubt")
	}
	for i, err := range errs {
		var cause *pegasus.Error
		if errors.As(err, &cause) {
			fmt.Printf("%s: %v\n", records[i].HashKey, cause.Outcome)
		}
	}
	fmt.Println(errors.Is(err, pegasus.ErrInvalidTTL))
	// Output:
	// 2 failed, 1 in doubt
	// user 1: in doubt
	// user 2: not sent
	// true
}
