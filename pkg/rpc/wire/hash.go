package wire

import (
	"encoding/binary"
	"hash/crc64"
)

// KeyHash returns the partition hash of a record: of its hash key, or of its sort key if the hash
// key is empty (docs/protocol.md, keys and partition hash).
func KeyHash(hashKey, sortKey []byte) uint64 {
	if len(hashKey) == 0 {
		return checksum(sortKey)
	}
	return checksum(hashKey)
}

// crcTables[0] is the table of Pegasus's crc64, and crcTables[n] what that makes of a byte followed
// by n zero bytes.
var crcTables = func() (tables [8]crc64.Table) {
	tables[0] = *crc64.MakeTable(0x9a6c9329ac4bc9b5)
	for n := 1; n < len(tables); n++ {
		for i, crc := range tables[n-1] {
			tables[n][i] = tables[0][byte(crc)] ^ crc>>8
		}
	}
	return tables
}()

// checksum is crc64.Checksum by eight bytes at a time. The standard library does that for its own
// polynomials and for long data only, where it builds the tables, 16 KiB, on each call.
func checksum(data []byte) uint64 {
	crc := ^uint64(0)
	for ; len(data) >= 8; data = data[8:] {
		crc ^= binary.LittleEndian.Uint64(data)
		crc = crcTables[7][byte(crc)] ^ crcTables[6][byte(crc>>8)] ^
			crcTables[5][byte(crc>>16)] ^ crcTables[4][byte(crc>>24)] ^
			crcTables[3][byte(crc>>32)] ^ crcTables[2][byte(crc>>40)] ^
			crcTables[1][byte(crc>>48)] ^ crcTables[0][byte(crc>>56)]
	}
	for _, b := range data {
		crc = crcTables[0][byte(crc)^b] ^ crc>>8
	}
	return ^crc
}
