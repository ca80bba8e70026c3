package retry

import (
	"slices"
	"strconv"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Row says what one answer or accident means and what to do about it. Exactly one of Name, Status
// and Cause identifies it, depending on Layer.
type Row struct {
	// Layer says who reported the failure.
	Layer Layer
	// Name is the server's error name, in rows of FrameLayer and MetaLayer.
	Name wire.ErrorName
	// Status is the storage engine's status, in rows of StorageLayer.
	Status wire.Status
	// Cause is what the client saw, in rows of TransportLayer.
	Cause Cause
	// Action is what to do if the outcome permits it, see [Decide].
	Action Action
	// Outcome is what this failure alone says about the request.
	Outcome Outcome
	// Executed reports whether the server may have executed the request. False is a promise: nothing
	// was done, also if Outcome is Answered, and every operation may be sent again.
	Executed bool
	// Overload marks a server that sheds load. Its Action is to give up, because retries are what an
	// overloaded server needs least; [Policy].RetryBusy turns that into BackOff.
	Overload bool
	// Why explains the failure in a few words, for errors and documentation.
	Why string
}

// String returns the layer and identity of the row, for example "frame ERR_BUSY".
func (r Row) String() string {
	switch r.Layer {
	case StorageLayer:
		return r.Layer.String() + " status " + strconv.Itoa(int(r.Status))
	case TransportLayer:
		return r.Layer.String() + " " + r.Cause.String()
	default:
		return r.Layer.String() + " " + string(r.Name)
	}
}

// The lookups below are generated from the table once and only read afterwards.
var (
	byFrameName = indexed(frameRows, func(r Row) wire.ErrorName { return r.Name })
	byMetaName  = indexed(metaRows, func(r Row) wire.ErrorName { return r.Name })
	byCause     = indexed(transportRows, func(r Row) Cause { return r.Cause })
)

// Frame returns the row for the error name in the header of a replica server's reply. A name that
// is not in the table is opaque: the server decided, we do not know what, and the caller is told.
// It does not allocate.
func Frame(name wire.ErrorName) Row {
	if row, ok := byFrameName[name]; ok {
		return row
	}
	return Row{Layer: FrameLayer, Name: name, Outcome: Answered, Executed: true, Why: whyOpaque}
}

// Meta returns the row for an error name of a meta server, from the body of its reply or from its
// header. Unknown names are opaque, see [Frame]. It does not allocate.
func Meta(name wire.ErrorName) Row {
	if row, ok := byMetaName[name]; ok {
		return row
	}
	return Row{Layer: MetaLayer, Name: name, Outcome: Answered, Executed: true, Why: whyOpaque}
}

// Storage returns the row for the storage engine's status of a data reply. Every status is returned
// to the caller, because the engine gave its verdict; unknown ones are opaque. It does not allocate.
func Storage(status wire.Status) Row {
	if status >= 0 && int(status) < len(storageRows) {
		return storageRows[status]
	}
	return Row{Layer: StorageLayer, Status: status, Outcome: Answered, Executed: true, Why: whyOpaque}
}

// Transport returns the row for a failure that the client itself saw. A cause that is not listed is
// taken for the worst: in doubt, and returned to the caller. It does not allocate.
func Transport(cause Cause) Row {
	if row, ok := byCause[cause]; ok {
		return row
	}
	return Row{Layer: TransportLayer, Cause: cause, Outcome: InDoubt, Executed: true, Why: whyOpaque}
}

// Rows returns the whole table in a new slice, for documentation and for tests of other packages.
func Rows() []Row {
	return slices.Concat(frameRows, metaRows, storageRows, transportRows)
}

// answers completes rows that a server's reply stands for: the server decided.
func answers(layer Layer, rows ...Row) []Row {
	for i := range rows {
		rows[i].Layer, rows[i].Outcome = layer, Answered
	}
	return rows
}

// accidents completes rows of failures that no reply explains.
func accidents(rows ...Row) []Row {
	for i := range rows {
		rows[i].Layer = TransportLayer
	}
	return rows
}

// indexed returns the rows by the field that identifies them.
func indexed[K comparable](rows []Row, key func(Row) K) map[K]Row {
	index := make(map[K]Row, len(rows))
	for _, row := range rows {
		index[key(row)] = row
	}
	return index
}
