package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// maxReplySize is the largest reply, in bytes, that the floor believes in. Values are much smaller.
const maxReplySize = 1 << 20

// countReplies returns how many whole reply frames data starts with, and how many bytes they have.
// Good replies have one of few sizes; another size means that the server refused the request.
func countReplies(data []byte, sizes []int) (count, counted int, err error) {
	for len(data)-counted >= wire.ResponseSizePrefix {
		got, err := wire.ResponseSize(data[counted:], maxReplySize)
		if err != nil {
			return count, counted, err
		}
		if !slices.Contains(sizes, got) {
			return count, counted, fmt.Errorf("an answer of %d bytes instead of %d: the server refuses", got, sizes)
		}
		if len(data)-counted < got {
			break
		}
		counted += got
		count++
	}
	return count, counted, nil
}

// readReply reads one whole reply frame.
func readReply(r io.Reader) ([]byte, error) {
	frame := make([]byte, wire.ResponseSizePrefix)
	if _, err := io.ReadFull(r, frame); err != nil {
		return nil, err
	}
	size, err := wire.ResponseSize(frame, maxReplySize)
	if err != nil {
		return nil, err
	}
	frame = append(frame, make([]byte, size-len(frame))...)
	_, err = io.ReadFull(r, frame[wire.ResponseSizePrefix:])
	return frame, err
}

// checkReply returns an error unless the frame says that its request was executed.
func checkReply(k *kind, frame []byte) error {
	var response wire.Response
	if err := wire.ParseResponse(frame, &response); err != nil {
		return err
	}
	if response.Error != wire.ErrOK {
		return fmt.Errorf("%s answered %s", k.method.Name(), response.Error)
	}
	status, err := k.status(response.Result)
	if err == nil && status != wire.StatusOK {
		err = fmt.Errorf("%s answered status %d", k.method.Name(), status)
	}
	return err
}
