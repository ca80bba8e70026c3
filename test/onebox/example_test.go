package onebox_test

import (
	"context"
	"fmt"
	"io"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
	"github.com/bridle-kv/bridle/test/onebox"
)

// A cluster is started, filled, and loses a server. In a test, use New instead of Start: it closes the
// cluster, and fails the test if the client under test breaks the protocol.
func Example() {
	cluster, err := onebox.Start(onebox.Config{FailoverDelay: -1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	if _, err := cluster.CreateTable("temp", onebox.TableOptions{Partitions: 4}); err != nil {
		fmt.Println(err)
		return
	}
	err = cluster.Load("temp", 100, func(i int) (hashKey, sortKey, value []byte) {
		return fmt.Append(nil, "user", i), []byte("name"), fmt.Append(nil, "Ada ", i)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// A client connects to cluster.MetaAddresses(), best with cluster.DialContext.

	dead := cluster.Primary("temp", 0)
	dead.Kill()
	fmt.Println("primary:", dead.Name(), "then", cluster.Primary("temp", 0).Name())
	value, ok := cluster.Peek("temp", []byte("user7"), []byte("name"))
	fmt.Println(string(value), ok)

	dead.Restart()
	for _, node := range cluster.Secondaries("temp", 0) {
		fmt.Println("secondary:", node.Name())
	}
	// Output:
	// primary: replica-0 then replica-1
	// Ada 7 true
	// secondary: replica-0
	// secondary: replica-2
}

// A fault disturbs the requests that it matches: here, the first get is answered with a frame error.
func ExampleNode_Inject() {
	cluster, err := onebox.Start(onebox.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	appID, err := cluster.CreateTable("temp", onebox.TableOptions{Partitions: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	node := cluster.Primary("temp", 0)
	node.Inject(onebox.Fault{Match: onebox.OnMethod(wire.Get), Times: 1, Error: wire.ErrBusy})
	for range 2 {
		name, err := getOnce(cluster, node, appID)
		if err != nil {
			fmt.Println(err)
		}
		fmt.Println(name)
	}
	fmt.Println("gets:", node.Requests(wire.Get))
	// Output:
	// ERR_BUSY
	// ERR_OK
	// gets: 2
}

// getOnce sends a get on a new connection and returns the frame error of the reply.
func getOnce(cluster *onebox.Cluster, node *onebox.Node, appID int32) (wire.ErrorName, error) {
	conn, err := cluster.DialContext(context.Background(), "tcp", node.Address())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	key := rawKey("hash key", "sort key")
	header := wire.Header{
		GPID:          wire.GPID{AppID: appID},
		TimeoutMillis: 1000,
		PartitionHash: wire.KeyHash([]byte("hash key"), []byte("sort key")),
	}
	if _, err := conn.Write(wire.AppendRequestV1(nil, &header, wire.Get, 1, wire.Blob(key))); err != nil {
		return "", err
	}
	frame := make([]byte, 4)
	if _, err := io.ReadFull(conn, frame); err != nil {
		return "", err
	}
	size, err := wire.ResponseSize(frame, 1<<20)
	if err != nil {
		return "", err
	}
	frame = append(frame, make([]byte, size-len(frame))...)
	if _, err := io.ReadFull(conn, frame[4:]); err != nil {
		return "", err
	}
	var response wire.Response
	err = wire.ParseResponse(frame, &response)
	return response.Error, err
}
