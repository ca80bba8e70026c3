package pegasus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// single is an operation on one record, with the memory it needs. Its raw key doubles as the
// argument of the RPCs that take nothing else.
type single struct {
	operation
	key    wire.Blob
	put    wire.PutRequest
	get    getResult
	ttl    ttlResult
	update updateResult
}

// AppendField implements wire.Arguments for the RPCs whose argument is the raw key.
func (s *single) AppendField(dst []byte, id int16) []byte { return s.key.AppendField(dst, id) }

// getResult receives the answer to a get straight in the caller's memory.
type getResult struct {
	wire.GetResponse
	dst      []byte // what the caller brought
	value    []byte // dst and the value
	metadata *Metadata
}

// Decode implements wire.Result. The response's value lies in the connection's buffer and is gone
// after this.
func (g *getResult) Decode(r *wire.Reader) {
	g.GetResponse.Decode(r)
	if r.Err() == nil {
		g.value = append(g.dst, g.Value...)
	}
	g.Value = nil
	g.metadata.note(r, &g.Origin, 0)
}

// ttlResult receives the answer to a TTL.
type ttlResult struct {
	wire.TTLResponse
	metadata *Metadata
}

// Decode implements wire.Result.
func (t *ttlResult) Decode(r *wire.Reader) {
	t.TTLResponse.Decode(r)
	t.metadata.note(r, &t.Origin, 0)
}

// updateResult receives the answer to a write that has no result of its own.
type updateResult struct {
	wire.UpdateResponse
	metadata *Metadata
}

// Decode implements wire.Result.
func (u *updateResult) Decode(r *wire.Reader) {
	u.UpdateResponse.Decode(r)
	u.metadata.note(r, &u.Origin, u.Decree)
}

var singlePool = sync.Pool{New: func() any { return new(single) }}

// largeKey is the size in bytes above which the memory of a key is not kept for the next operation.
const largeKey = 4 << 10

// begin prepares an operation on one record.
func (t *Table) begin(name string, method *wire.Method, hashKey, sortKey []byte) (*single, error) {
	s := singlePool.Get().(*single)
	key, err := wire.AppendKey(s.key[:0], hashKey, sortKey)
	if err != nil {
		s.end()
		return nil, t.invalid(name, err)
	}
	s.key = key
	s.name, s.idempotent = name, true
	s.request.Method, s.request.Arguments = method, s
	s.request.Header.PartitionHash = wire.KeyHash(hashKey, sortKey)
	return s, nil
}

// end returns the operation to the pool. Nobody else knows it any more: a call that has returned
// left nothing behind.
func (s *single) end() {
	s.put, s.get = wire.PutRequest{}, getResult{}
	s.update.metadata, s.ttl.metadata = nil, nil
	s.partition, s.request.Result = nil, nil
	if cap(s.key) > largeKey {
		s.key = nil
	}
	singlePool.Put(s)
}

// Get returns the value of a record, or ErrNotFound. The value belongs to the caller; it is empty but
// not nil for a record with an empty value.
func (t *Table) Get(ctx context.Context, hashKey, sortKey []byte, options ...ReadOption) ([]byte, error) {
	value, err := t.AppendGet(ctx, nil, hashKey, sortKey, options...)
	if err == nil && value == nil {
		value = []byte{}
	}
	return value, err
}

// AppendGet appends the value of a record to dst and returns the extended slice, like append. With
// room in dst it allocates nothing. On errors, ErrNotFound included, it returns dst as it was; the
// memory between its length and capacity may have been written. The client keeps no reference to dst
// or to the keys.
func (t *Table) AppendGet(ctx context.Context, dst, hashKey, sortKey []byte, options ...ReadOption) ([]byte, error) {
	s, err := t.begin("get", wire.Get, hashKey, sortKey)
	if err != nil {
		return dst, err
	}
	defer s.end()
	s.get.dst, s.get.metadata = dst, readOptions(options).metadata
	s.request.Result = &s.get
	if err := t.run(ctx, &s.operation); err != nil {
		return dst, err
	}
	if err := t.status(&s.operation, s.get.Status); err != nil {
		return dst, err
	}
	return s.get.value, nil
}

// Set writes a record, whether it exists or not; it overwrites value and TTL. An empty value is a
// value. It fails with ErrTooLarge if the request would exceed Settings.MaxWriteBytes.
func (t *Table) Set(ctx context.Context, hashKey, sortKey, value []byte, options ...WriteOption) error {
	o := writeOptions(options)
	expires, err := expiry(o.ttl)
	if err != nil {
		return t.invalid("set", err)
	}
	s, err := t.begin("set", wire.Put, hashKey, sortKey)
	if err != nil {
		return err
	}
	defer s.end()
	s.put = wire.PutRequest{Key: s.key, Value: value, ExpireSeconds: expires}
	s.request.Arguments = &s.put
	s.update.metadata = o.metadata
	return t.write(ctx, s, wire.PutBodySize(len(s.key), len(value)))
}

// removeOverhead is the size in bytes of the body of a Remove without the raw key.
var removeOverhead = wire.RequestOverhead(wire.Remove) + len(wire.Blob(nil).AppendField(nil, 1))

// Del deletes a record. It is no error if there is none. A TTL among the options means nothing to it.
func (t *Table) Del(ctx context.Context, hashKey, sortKey []byte, options ...WriteOption) error {
	s, err := t.begin("del", wire.Remove, hashKey, sortKey)
	if err != nil {
		return err
	}
	defer s.end()
	s.update.metadata = writeOptions(options).metadata
	return t.write(ctx, s, removeOverhead+len(s.key))
}

// write runs an operation whose body has the given size, and which is answered with an UpdateResponse.
func (t *Table) write(ctx context.Context, s *single, size int) error {
	if err := t.checkSize(size); err != nil {
		return t.invalid(s.name, err)
	}
	s.idempotent = t.client.settings.RetryDoubtfulWrites
	s.request.Result = &s.update
	if err := t.run(ctx, &s.operation); err != nil {
		return err
	}
	return t.verdict(&s.operation, s.update.Status)
}

// TTL returns how long a record has to live by the server's clock, in whole seconds. expires is false
// if the record stays for ever. A record that does not exist is ErrNotFound.
func (t *Table) TTL(ctx context.Context, hashKey, sortKey []byte, options ...ReadOption) (left time.Duration, expires bool, err error) {
	return t.timeToLive(ctx, "ttl", hashKey, sortKey, options)
}

// Exist says whether a record exists. It transfers no value.
func (t *Table) Exist(ctx context.Context, hashKey, sortKey []byte, options ...ReadOption) (bool, error) {
	_, _, err := t.timeToLive(ctx, "exist", hashKey, sortKey, options)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (t *Table) timeToLive(ctx context.Context, name string, hashKey, sortKey []byte, options []ReadOption) (time.Duration, bool, error) {
	s, err := t.begin(name, wire.TTL, hashKey, sortKey)
	if err != nil {
		return 0, false, err
	}
	defer s.end()
	s.ttl.metadata = readOptions(options).metadata
	s.request.Result = &s.ttl
	if err := t.run(ctx, &s.operation); err != nil {
		return 0, false, err
	}
	if err := t.status(&s.operation, s.ttl.Status); err != nil {
		return 0, false, err
	}
	const forever = -1
	if s.ttl.Seconds == forever {
		return 0, false, nil
	}
	// Servers compute in unsigned numbers: any other negative one is far in the future.
	return time.Duration(uint32(s.ttl.Seconds)) * time.Second, true, nil
}

// status is the verdict on a read, for which it is a normal answer that there is no record.
func (t *Table) status(op *operation, status wire.Status) error {
	if status == wire.StatusNotFound {
		return ErrNotFound
	}
	return t.verdict(op, status)
}

// verdict turns the storage engine's answer into an error.
func (t *Table) verdict(op *operation, status wire.Status) error {
	if status == wire.StatusOK {
		return nil
	}
	return t.answered(op, status, &StatusError{Status: status})
}

// answered is the error of an operation to which a server gave an answer that comes to a failure.
func (t *Table) answered(op *operation, status wire.Status, cause error) error {
	e := t.describe(op, Answered)
	e.Status, e.Err = status, cause
	t.client.counters.failed(op, e)
	return e
}

// checkSize refuses a write whose body is larger than servers accept.
func (t *Table) checkSize(size int) error {
	if size > t.client.settings.MaxWriteBytes {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	return nil
}

// expiry turns a TTL into the absolute form of the wire.
func expiry(ttl time.Duration) (int32, error) {
	if ttl < 0 {
		return 0, fmt.Errorf("%w: %v", ErrInvalidTTL, ttl)
	}
	if ttl == 0 {
		return 0, nil
	}
	seconds := int64((ttl-1)/time.Second) + 1
	expires := time.Now().Unix() - wire.ExpireEpoch + seconds
	if expires <= 0 || expires > math.MaxInt32 {
		return 0, fmt.Errorf("%w: %v", ErrInvalidTTL, ttl)
	}
	return int32(expires), nil
}
