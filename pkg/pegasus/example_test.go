package pegasus_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/retry"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// startCluster stands for the cluster that you have. It has a table "users".
func startCluster() (cluster *onebox.Cluster, stop func()) {
	cluster, err := onebox.Start(onebox.Config{})
	if err != nil {
		panic(err)
	}
	if _, err := cluster.CreateTable("users", onebox.TableOptions{}); err != nil {
		panic(err)
	}
	return cluster, func() { _ = cluster.Close() }
}

func Example() {
	cluster, stop := startCluster()
	defer stop()
	ctx := context.Background()

	client, err := pegasus.Open(cluster.MetaAddresses())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close() }()
	users, err := client.OpenTable(ctx, "users")
	if err != nil {
		fmt.Println(err)
		return
	}

	if err := users.Set(ctx, []byte("user 1"), []byte("name"), []byte("Ada")); err != nil {
		fmt.Println(err)
		return
	}
	name, err := users.Get(ctx, []byte("user 1"), []byte("name"))
	fmt.Printf("%s %v\n", name, err)
	_, err = users.Get(ctx, []byte("user 2"), []byte("name"))
	fmt.Println(errors.Is(err, pegasus.ErrNotFound))
	// Output:
	// Ada <nil>
	// true
}

// openUsers is the beginning of the other examples.
func openUsers(options ...pegasus.Option) (cluster *onebox.Cluster, users *pegasus.Table, stop func()) {
	cluster, stopCluster := startCluster()
	client, err := pegasus.Open(cluster.MetaAddresses(), options...)
	if err != nil {
		panic(err)
	}
	users, err = client.OpenTable(context.Background(), "users")
	if err != nil {
		panic(err)
	}
	return cluster, users, func() {
		_ = client.Close()
		stopCluster()
	}
}

func ExampleWithTTL() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()

	session := []byte("session 7")
	if err := users.Set(ctx, session, nil, []byte("Ada"), pegasus.WithTTL(time.Hour)); err != nil {
		fmt.Println(err)
		return
	}
	left, expires, err := users.TTL(ctx, session, nil)
	fmt.Println(left.Round(time.Minute), expires, err)
	// Output: 1h0m0s true <nil>
}

func ExampleTable_AppendGet() {
	_, users, stop := openUsers()
	defer stop()
	ctx := context.Background()
	for _, name := range []string{"Ada", "Grace", "Barbara"} {
		_ = users.Set(ctx, []byte("users"), []byte(name), []byte("hello "+name))
	}

	// One buffer serves all, and nothing is allocated once it is large enough.
	var buffer []byte
	for _, name := range []string{"Ada", "Grace", "Nobody", "Barbara"} {
		value, err := users.AppendGet(ctx, buffer[:0], []byte("users"), []byte(name))
		if err != nil {
			fmt.Println(name, err)
			continue
		}
		fmt.Printf("%s\n", value)
		buffer = value
	}
	// Output:
	// hello Ada
	// hello Grace
	// Nobody pegasus: not found
	// hello Barbara
}

func ExampleError() {
	// Do not repeat anything here, so that there is something to show.
	cluster, users, stop := openUsers(pegasus.WithRetry(retry.Policy{MaxAttempts: 1}))
	defer stop()
	for _, replica := range cluster.Replicas() {
		replica.Inject(onebox.Fault{Error: wire.ErrBusy, Times: 1})
		replica.Inject(onebox.Fault{DropReply: true, Match: onebox.OnMethod(wire.Put)})
	}

	for _, timeout := range []time.Duration{time.Minute, 50 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		err := users.Set(ctx, []byte("user 1"), []byte("name"), []byte("Ada"))
		cancel()
		switch {
		case errors.Is(err, pegasus.ErrBusy):
			fmt.Println("throttled: come back later")
		case errors.Is(err, context.DeadlineExceeded):
			fmt.Println("out of time")
		}
		var failure *pegasus.Error
		if errors.As(err, &failure) && failure.Outcome == pegasus.InDoubt {
			fmt.Println("it may have been written all the same")
		}
	}
	// Output:
	// throttled: come back later
	// out of time
	// it may have been written all the same
}

func ExampleClient_Snapshot() {
	cluster, stop := startCluster()
	defer stop()
	client, err := pegasus.Open(cluster.MetaAddresses())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = client.Close() }()
	if _, err := client.OpenTable(context.Background(), "users"); err != nil {
		fmt.Println(err)
		return
	}

	s := client.Snapshot()
	fmt.Println(s.Meta.Leader == cluster.Leader().Address(), s.Meta.Confirmed)
	for _, table := range s.Tables {
		fmt.Println(table.Name, len(table.Partitions))
	}
	// Output:
	// true true
	// users 8
}
