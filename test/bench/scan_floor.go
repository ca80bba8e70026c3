package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// scanFloor receives the answers to a scan of the whole table, one partition after the other, and reads
// nothing of them but the context id, which the next request takes.
type scanFloor struct {
	scanning
	partitions []*scanPartition
	records    int // of the whole table, which a first scan that decodes them has counted
	bytes      int // of all answers
}

// scanPartition is a partition and the connection to its primary.
type scanPartition struct {
	gpid       wire.GPID
	conn       *scanConn
	serverName int // length of the name that the server gives itself
}

// newScanFloor connects to the primaries of the table and scans it for the first time.
func newScanFloor(table pegasus.TableSnapshot) (*scanFloor, error) {
	f := new(scanFloor)
	f.scanning = scanning{scanner: f, title: "floor_scan"}
	conns := make(map[string]*scanConn)
	for i := range table.Partitions {
		gpid, address, err := locate(table, uint64(i))
		if err != nil {
			return nil, errors.Join(err, f.close())
		}
		if int(gpid.PartitionIndex) != i {
			continue // the parent stands in for it, and is scanned anyway
		}
		if conns[address] == nil {
			if conns[address], err = dialScan(address); err != nil {
				return nil, errors.Join(fmt.Errorf("floor at %s: %w", address, err), f.close())
			}
		}
		f.partitions = append(f.partitions, &scanPartition{gpid: gpid, conn: conns[address]})
	}
	if err := f.each(f.count); err != nil {
		return nil, errors.Join(fmt.Errorf("floor: %w", err), f.close())
	}
	return f, nil
}

func (f *scanFloor) close() error {
	var errs []error
	closed := make(map[*scanConn]bool)
	for _, p := range f.partitions {
		if !closed[p.conn] {
			closed[p.conn] = true
			errs = append(errs, p.conn.Close())
		}
	}
	return errors.Join(errs...)
}

// bytesPerOperation returns how many bytes a record takes in the answers.
func (f *scanFloor) bytesPerOperation() float64 { return float64(f.bytes) / float64(f.records) }

// scan implements scanner.
func (f *scanFloor) scan() (records int, err error) {
	return f.records, f.each(func(p *scanPartition, result []byte) (contextID int64, err error) {
		return p.contextID(result)
	})
}

// each scans every partition and hands the results to next, which returns the context id of each.
func (f *scanFloor) each(next func(p *scanPartition, result []byte) (contextID int64, err error)) error {
	for _, p := range f.partitions {
		var arguments wire.Arguments = &wire.GetScannerRequest{
			StartKey: []byte{0, 0}, StartInclusive: true, StopKey: []byte{0xff, 0xff},
			ValidatePartitionHash: wire.Yes, FullScan: wire.Yes,
		}
		following := new(wire.ScanRequest)
		for method := wire.GetScanner; ; method = wire.Scan {
			result, err := p.conn.exchange(p.gpid, method, arguments)
			if err != nil {
				return err
			}
			if following.ContextID, err = next(p, result); err != nil {
				return err
			}
			if following.ContextID == wire.ScanComplete {
				break
			}
			arguments = following
		}
	}
	return nil
}

// count is the scan that decodes, and learns the layout of the answers.
func (f *scanFloor) count(p *scanPartition, result []byte) (contextID int64, err error) {
	var response wire.ScanResponse
	if err := decode(result, &response); err != nil {
		return 0, err
	}
	if response.Status != wire.StatusOK {
		return 0, fmt.Errorf("%v answered status %d", p.gpid, response.Status)
	}
	f.records += len(response.Records)
	f.bytes += p.conn.size
	p.serverName = len(response.Origin.Server)
	contextID, err = p.contextID(result)
	if err == nil && contextID != response.ContextID {
		err = errLayout
	}
	return contextID, err
}

var errLayout = errors.New("the answer to a scan is not laid out as servers do")

// Sizes of the fields of a scan's answer from the context id on, headers included.
const (
	contextField = 3 + 8
	numberField  = 3 + 4
	contextID    = 10<<16 | 3 // the header: an I64 with id 3
)

// contextID reads the context id where servers put it: behind it are two numbers, the server's name, and
// the ends of two structs.
func (p *scanPartition) contextID(result []byte) (int64, error) {
	offset := len(result) - (contextField + 2*numberField + numberField + p.serverName + 2)
	if offset < 0 || binary.BigEndian.Uint32(result[offset:])>>8 != contextID {
		return 0, errLayout
	}
	return int64(binary.BigEndian.Uint64(result[offset+3:])), nil
}

// maxScanReply is the largest answer, in bytes, that the floor believes in, as the client does by default.
const maxScanReply = 128 << 20

// scanConn is a connection with one request under way at a time.
type scanConn struct {
	net.Conn
	request []byte
	buffer  []byte
	size    int // of the last answer
}

func dialScan(address string) (*scanConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lostAfter)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &scanConn{Conn: conn, buffer: make([]byte, readBufferSize)}, nil
}

// exchange sends a request and returns the result in the answer, which is good until the next one.
func (c *scanConn) exchange(gpid wire.GPID, method *wire.Method, arguments wire.Arguments) ([]byte, error) {
	header := wire.Header{
		GPID: gpid, TimeoutMillis: wire.TimeoutMillis(requestTimeout), PartitionHash: uint64(gpid.PartitionIndex),
	}
	c.request = wire.AppendRequestV1(c.request[:0], &header, method, 1, arguments)
	if err := c.SetDeadline(time.Now().Add(lostAfter)); err != nil {
		return nil, err
	}
	if _, err := c.Write(c.request); err != nil {
		return nil, err
	}
	frame, err := c.receive()
	if err != nil {
		return nil, err
	}
	var response wire.Response
	if err := wire.ParseResponse(frame, &response); err != nil {
		return nil, err
	}
	if response.Error != wire.ErrOK {
		return nil, fmt.Errorf("%s answered %s", method.Name(), response.Error)
	}
	return response.Result, nil
}

// receive reads one answer. It reads as much at a time as there is room for.
func (c *scanConn) receive() (frame []byte, err error) {
	c.size = wire.ResponseSizePrefix
	for filled := 0; filled < c.size; {
		n, err := c.Read(c.buffer[filled:])
		if err != nil {
			return nil, err
		}
		if filled += n; filled < wire.ResponseSizePrefix || c.size > wire.ResponseSizePrefix {
			continue
		}
		if c.size, err = wire.ResponseSize(c.buffer, maxScanReply); err != nil {
			return nil, err
		}
		if c.size > len(c.buffer) {
			c.buffer = append(c.buffer, make([]byte, c.size-len(c.buffer))...)
		}
	}
	return c.buffer[:c.size], nil
}
