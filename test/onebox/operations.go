package onebox

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// allOperations are the RPCs that the cluster serves.
var allOperations = []*operation{
	newOperation(metaOperation, row[wire.QueryConfigRequest, wire.QueryConfigResponse]{
		method: wire.QueryConfig, execute: queryConfig,
	}),
	newOperation(readOperation, row[wire.Blob, wire.GetResponse]{
		method: wire.Get, hash: hashOfBlob, execute: get,
		origin: func(out *wire.GetResponse) *wire.Origin { return &out.Origin },
	}),
	newOperation(readOperation, row[wire.Blob, wire.TTLResponse]{
		method: wire.TTL, hash: hashOfBlob, execute: ttl,
		origin: func(out *wire.TTLResponse) *wire.Origin { return &out.Origin },
	}),
	newOperation(readOperation, row[wire.MultiGetRequest, wire.MultiGetResponse]{
		method: wire.MultiGet, hash: hashOfMultiGet, execute: multiGet,
		origin: func(out *wire.MultiGetResponse) *wire.Origin { return &out.Origin },
	}),
	newOperation(readOperation, row[wire.BatchGetRequest, wire.BatchGetResponse]{
		method: wire.BatchGet, hash: hashOfBatchGet, execute: batchGet,
		origin: func(out *wire.BatchGetResponse) *wire.Origin { return &out.Origin },
	}),
	newOperation(unlockedReadOperation, row[wire.Blob, wire.CountResponse]{
		method: wire.SortKeyCount, hash: hashOfBareKey, execute: sortKeyCount,
		origin: func(out *wire.CountResponse) *wire.Origin { return &out.Origin },
	}),
	newOperation(unlockedReadOperation, row[wire.GetScannerRequest, wire.ScanResponse]{
		method: wire.GetScanner, hash: hashOfGetScanner, execute: getScanner, origin: originOfScan,
	}),
	newOperation(unlockedReadOperation, row[wire.ScanRequest, wire.ScanResponse]{
		method: wire.Scan, execute: scan, origin: originOfScan,
	}),
	newOperation(unlockedReadOperation, row[wire.Int64, wire.UpdateResponse]{
		method: wire.ClearScanner, silent: true, execute: clearScanner,
	}),
	newOperation(writeOperation, row[wire.PutRequest, wire.UpdateResponse]{
		method: wire.Put, hash: hashOfPut, strict: true, execute: put, origin: originOfUpdate,
	}),
	newOperation(writeOperation, row[wire.Blob, wire.UpdateResponse]{
		method: wire.Remove, hash: hashOfBlob, strict: true, execute: remove, origin: originOfUpdate,
	}),
	newOperation(writeOperation, row[wire.MultiPutRequest, wire.UpdateResponse]{
		method: wire.MultiPut, hash: hashOfMultiPut, execute: multiPut, origin: originOfUpdate,
	}),
	newOperation(writeOperation, row[wire.MultiRemoveRequest, wire.MultiRemoveResponse]{
		method: wire.MultiRemove, hash: hashOfMultiRemove, execute: multiRemove,
		origin: func(out *wire.MultiRemoveResponse) *wire.Origin { return &out.Origin },
	}),
	newOperation(writeOperation, row[wire.IncrRequest, wire.IncrResponse]{
		method: wire.Incr, atomic: true, hash: hashOfIncr, execute: incr,
		origin: func(out *wire.IncrResponse) *wire.Origin { return &out.Origin },
	}),
	newOperation(writeOperation, row[wire.CheckAndSetRequest, wire.CheckResponse]{
		method: wire.CheckAndSet, atomic: true, hash: hashOfCheckAndSet, execute: checkAndSet, origin: originOfCheck,
	}),
	newOperation(writeOperation, row[wire.CheckAndMutateRequest, wire.CheckResponse]{
		method: wire.CheckAndMutate, atomic: true, hash: hashOfCheckAndMutate, execute: checkAndMutate, origin: originOfCheck,
	}),
}

func originOfUpdate(out *wire.UpdateResponse) *wire.Origin { return &out.Origin }

func originOfScan(out *wire.ScanResponse) *wire.Origin { return &out.Origin }

func originOfCheck(out *wire.CheckResponse) *wire.Origin { return &out.Origin }

// The functions below return the partition hash that a correct client sends. Where there is a choice,
// that of the header stands if it is among them.

func hashOfBlob(key *wire.Blob, _ *wire.Header) (uint64, error) { return hashOfKey(*key) }

func hashOfPut(in *wire.PutRequest, _ *wire.Header) (uint64, error) { return hashOfKey(in.Key) }

func hashOfIncr(in *wire.IncrRequest, _ *wire.Header) (uint64, error) { return hashOfKey(in.Key) }

func hashOfBareKey(key *wire.Blob, _ *wire.Header) (uint64, error) { return hashOfHashKey(*key) }

func hashOfMultiGet(in *wire.MultiGetRequest, _ *wire.Header) (uint64, error) {
	return hashOfHashKey(in.HashKey)
}

func hashOfMultiPut(in *wire.MultiPutRequest, _ *wire.Header) (uint64, error) {
	return hashOfHashKey(in.HashKey)
}

func hashOfMultiRemove(in *wire.MultiRemoveRequest, _ *wire.Header) (uint64, error) {
	return hashOfHashKey(in.HashKey)
}

func hashOfCheckAndSet(in *wire.CheckAndSetRequest, _ *wire.Header) (uint64, error) {
	return hashOfHashKey(in.HashKey)
}

func hashOfCheckAndMutate(in *wire.CheckAndMutateRequest, _ *wire.Header) (uint64, error) {
	return hashOfHashKey(in.HashKey)
}

// hashOfBatchGet accepts the hash of any of the keys. Without keys any hash is as good.
func hashOfBatchGet(in *wire.BatchGetRequest, header *wire.Header) (uint64, error) {
	hash := header.PartitionHash
	for i, key := range in.Keys {
		if _, err := hashOfHashKey(key.HashKey); err != nil {
			return 0, err
		}
		if own := wire.KeyHash(key.HashKey, key.SortKey); i == 0 {
			hash = own
		} else if own == header.PartitionHash {
			hash = own
		}
	}
	return hash, nil
}

// errPrefixSeek means that a server with a prefix bloom filter would have to look for a key that is not
// in the hash key it is confined to.
var errPrefixSeek = errors.New("a hash key filter moves the start of a scan within a hash key")

// hashOfGetScanner accepts the partition index, which stands for scans of the whole partition, that of a
// child that the partition may still serve, and the hash of the hash key in which the scan starts.
func hashOfGetScanner(in *wire.GetScannerRequest, header *wire.Header) (uint64, error) {
	hashKey, _, err := wire.SplitKey(in.StartKey)
	if err != nil {
		return 0, fmt.Errorf("start key: %w", err)
	}
	if (filter{in.HashKeyFilter, in.HashKeyPattern}).isPrefix() {
		first, err := wire.AppendKey(nil, in.HashKeyPattern, nil)
		if err != nil {
			return 0, fmt.Errorf("hash key pattern: %w", err)
		}
		if len(hashKey) > 0 && in.FullScan != wire.Yes && bytes.Compare(first, in.StartKey) > 0 {
			return 0, errPrefixSeek
		}
	}
	if whole := header.PartitionHash; whole < maxPartitions && isDescendant(whole, uint64(header.GPID.PartitionIndex)) {
		return whole, nil
	}
	return wire.KeyHash(hashKey, nil), nil
}

// maxPartitions is more than any table has.
const maxPartitions = 1 << 20

// isDescendant tells whether splits of one partition can lead to another one, or both are the same.
func isDescendant(child, parent uint64) bool {
	count := uint64(1)
	for count <= parent {
		count *= 2
	}
	return child%count == parent
}

func hashOfKey(raw []byte) (uint64, error) {
	hashKey, sortKey, err := wire.SplitKey(raw)
	if err != nil {
		return 0, err
	}
	return wire.KeyHash(hashKey, sortKey), nil
}

func hashOfHashKey(hashKey []byte) (uint64, error) {
	if len(hashKey) > wire.MaxHashKeyLength {
		return 0, fmt.Errorf("%w: %d", wire.ErrHashKeyTooLong, len(hashKey))
	}
	return wire.KeyHash(hashKey, nil), nil
}
