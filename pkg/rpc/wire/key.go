package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxHashKeyLength is the longest hash key a server survives: one byte more makes it abort
// (docs/protocol.md, requests that abort a server).
const MaxHashKeyLength = 65534

// Errors about keys.
var (
	// ErrHashKeyTooLong means that a hash key has more than MaxHashKeyLength bytes.
	ErrHashKeyTooLong = errors.New("wire: hash key longer than 65534 bytes")
	// ErrRawKey means that bytes are not a raw key.
	ErrRawKey = errors.New("wire: not a raw key")
)

const keyPrefixSize = 2

// AppendKey appends the raw key, the form in which servers store keys: the length of the hash key in
// two bytes, the hash key, the sort key. Both may be empty. It refuses a hash key that is too long
// with ErrHashKeyTooLong.
func AppendKey(dst, hashKey, sortKey []byte) ([]byte, error) {
	if len(hashKey) > MaxHashKeyLength {
		return dst, fmt.Errorf("%w: %d", ErrHashKeyTooLong, len(hashKey))
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(hashKey)))
	return append(append(dst, hashKey...), sortKey...), nil
}

// SplitKey returns the parts of a raw key, which stay part of raw.
func SplitKey(raw []byte) (hashKey, sortKey []byte, err error) {
	if len(raw) < keyPrefixSize {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrRawKey, len(raw))
	}
	end := keyPrefixSize + int(binary.BigEndian.Uint16(raw))
	if end > len(raw) || end == keyPrefixSize+MaxHashKeyLength+1 {
		return nil, nil, fmt.Errorf("%w: hash key of %d bytes in %d", ErrRawKey, end-keyPrefixSize, len(raw))
	}
	return raw[keyPrefixSize:end:end], raw[end:], nil
}

// NextKey turns raw into the smallest key that is greater than every key with that prefix, in place,
// and returns it: the exclusive end of a range. Raw keys always have one, because the length at
// their start is never all ones.
func NextKey(raw []byte) []byte {
	for i := len(raw) - 1; i >= 0; i-- {
		if raw[i] != 0xff {
			raw[i]++
			return raw[:i+1]
		}
	}
	return raw[:0]
}
