package memnet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/bridle-kv/bridle/test/memnet"
)

// A client talks to an echo server until the connection is reset.
func Example() {
	network := memnet.New()
	listener, err := network.Listen("10.0.0.1:34601")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn) // until the connection breaks
	}()

	conn, err := network.DialContext(context.Background(), "tcp", "10.0.0.1:34601")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	answer := make([]byte, 5)
	_, _ = conn.Write([]byte("hello"))
	_, _ = io.ReadFull(conn, answer)
	fmt.Printf("%s\n", answer)

	network.Reset("10.0.0.1:34601")
	_, err = conn.Read(answer)
	fmt.Println("reset:", errors.Is(err, syscall.ECONNRESET))
	fmt.Println("connections:", network.Open("10.0.0.1:34601"))
	// Output:
	// hello
	// reset: true
	// connections: 1
}
