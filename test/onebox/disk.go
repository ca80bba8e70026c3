package onebox

import (
	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// Disk is the state of a replica server's disk.
type Disk int32

// States of a disk. Reads are served in all of them. If the disk of a partition's primary is not
// normal, writes are refused with the error below; if that of a secondary is not, they are answered
// ERR_OK without a result and not carried out (docs/protocol.md, the disk check quirk).
const (
	// DiskNormal accepts writes.
	DiskNormal Disk = iota
	// DiskInsufficient is short of space: ERR_DISK_INSUFFICIENT.
	DiskInsufficient
	// DiskBroken cannot be written: ERR_DISK_IO_ERROR.
	DiskBroken
)

// SetDisk changes the state of the server's disk. All servers know it at once.
func (n *Node) SetDisk(disk Disk) { n.disk.Store(int32(disk)) }

// admitDisks is the disk check of a write. The caller holds mu, and there is a primary.
func (p *partition) admitDisks() verdict {
	switch Disk(p.primary.node.disk.Load()) {
	case DiskInsufficient:
		return refused(wire.ErrDiskInsufficient)
	case DiskBroken:
		return refused(wire.ErrDiskIOError)
	}
	for _, r := range p.secondaries {
		if Disk(r.node.disk.Load()) != DiskNormal {
			return refused(wire.ErrOK)
		}
	}
	return admitted
}
