package pegasus

import (
	"errors"
	"fmt"
	"strings"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Defaults of BatchOptions.
const (
	// DefaultBatchGetConcurrency is the default of BatchOptions.Concurrency for BatchGet.
	DefaultBatchGetConcurrency = 16
	// DefaultBatchWriteConcurrency is that for BatchSet and BatchDel, whose requests are small and slow.
	DefaultBatchWriteConcurrency = 64
	// DefaultBatchChunkItems is the default of BatchOptions.ChunkItems.
	DefaultBatchChunkItems = 100
	// DefaultBatchChunkBytes is the default of BatchOptions.ChunkBytes.
	DefaultBatchChunkBytes = 256 << 10
)

// BatchOptions are the rare settings of a batch. A nil *BatchOptions, and fields that are not
// positive, stand for the defaults.
type BatchOptions struct {
	// Concurrency is how many requests of the batch are under way at a time, spread over the servers so
	// that one which is slow or silent holds up its own items only. The batch takes as many goroutines,
	// the caller's included. Default 16 for BatchGet, 64 for BatchSet and BatchDel.
	Concurrency int
	// ChunkItems is how many items go into one request at most. Default 100. Servers do not limit the
	// answer to a BatchGet, but the client does: this many of the largest values must fit into
	// rpc.Options.MaxResponseBytes, as 100 of 1 MiB fit into its default of 128 MiB. An answer above
	// costs the connection, and those keys are asked for again in smaller chunks.
	ChunkItems int
	// ChunkBytes is how many bytes of keys and values go into one request at most, in a write
	// including what surrounds them. An item that is larger goes alone. Default 256 KiB.
	ChunkBytes int
	// Metadata, if not nil, receives who answered for which item: the element of the item's index is
	// filled in if there is one and a server has executed the item's request, and stays as it is
	// otherwise. An item of a BatchSet or BatchDel that another one of the batch replaced is not sent.
	Metadata []Metadata
}

// tell fills in who answered for an item, unless it is nobody.
func (o *BatchOptions) tell(index int, m Metadata) {
	if index < len(o.Metadata) && m != (Metadata{}) {
		o.Metadata[index] = m
	}
}

// orDefault returns the options with defaults filled in.
func (o *BatchOptions) orDefault(concurrency int) BatchOptions {
	var filled BatchOptions
	if o != nil {
		filled = *o
	}
	for _, field := range []struct {
		value     *int
		byDefault int
	}{
		{&filled.Concurrency, concurrency},
		{&filled.ChunkItems, DefaultBatchChunkItems},
		{&filled.ChunkBytes, DefaultBatchChunkBytes},
	} {
		if *field.value <= 0 {
			*field.value = field.byDefault
		}
	}
	return filled
}

// BatchError is the failure of a part of a batch, or of all of it. errors.Is and errors.As find the
// causes of all items; the error of a single item is where the batch returned it, and is an [*Error].
type BatchError struct {
	// Operation is "batch get", "batch set" or "batch del".
	Operation string
	// Table is the table's name.
	Table string
	// Items is how many items the batch had.
	Items int
	// Failed are the indices of the items that failed, in ascending order.
	Failed []int
	// InDoubt is how many of those may have been executed nevertheless; see Error.Outcome.
	InDoubt int

	causes []error // in the order of Failed, each once if it is that of several items in a row
}

// Error implements error.
func (e *BatchError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "pegasus: %s in table %q: %d of %d items failed", e.Operation, e.Table, len(e.Failed), e.Items)
	if e.InDoubt > 0 {
		fmt.Fprintf(&text, " (%d in doubt)", e.InDoubt)
	}
	if len(e.causes) > 0 {
		fmt.Fprintf(&text, ", first item %d: %v", e.Failed[0], e.causes[0])
	}
	return text.String()
}

// Unwrap returns the causes.
func (e *BatchError) Unwrap() []error { return e.causes }

// batchError sums up the errors of a batch's items: nil if no item failed.
func (t *Table) batchError(operation string, items int, errorOf func(i int) error) error {
	var e *BatchError
	for i := range items {
		err := errorOf(i)
		if err == nil || errors.Is(err, ErrNotFound) {
			continue
		}
		if e == nil {
			e = &BatchError{Operation: operation, Table: t.name, Items: items}
		}
		e.add(i, err)
	}
	if e == nil {
		return nil
	}
	return e
}

func (e *BatchError) add(item int, err error) {
	e.Failed = append(e.Failed, item)
	var failure *Error
	if errors.As(err, &failure) && failure.Outcome == InDoubt {
		e.InDoubt++
	}
	if last := len(e.causes) - 1; last < 0 || e.causes[last] != err { //nolint:errorlint // the very same
		e.causes = append(e.causes, err)
	}
}

// checkLength refuses a hash key that servers do not survive.
func checkLength(hashKey []byte) error {
	if len(hashKey) > wire.MaxHashKeyLength {
		return fmt.Errorf("%w: %d", ErrHashKeyTooLong, len(hashKey))
	}
	return nil
}
