package onebox

import (
	"net/netip"

	"github.com/bridle-kv/bridle/pkg/rpc/wire"
)

// serveTroubled serves a request on a server that has trouble.
func (k *connection) serveTroubled(trouble *trouble, op *operation) {
	if trouble.denyClients {
		return
	}
	request := &Request{
		Method: string(k.request.Name), Header: k.request.Header,
		Sequence: k.request.Sequence, Node: k.node,
	}
	for _, fault := range trouble.faults {
		if fault.take(request) {
			k.serveDisturbed(&fault.Fault, op)
			return
		}
	}
	k.serveOperation(op)
}

func (k *connection) serveDisturbed(fault *Fault, op *operation) {
	switch {
	case fault.CloseBefore:
		k.hungUp = true
		return
	case fault.DropRequest:
		return
	}
	start := len(k.output)
	k.falsify(fault)
	k.answer(fault, op)
	reply := append([]byte(nil), k.output[start:]...)
	k.output = k.output[:start]
	switch {
	case fault.CloseAfter:
		k.hungUp = true
	case fault.DropReply || len(reply) == 0:
	default:
		k.deliver(fault, mangle(fault, reply))
	}
}

// unusedSequence differs from a sequence id in bits that clients do not use together.
const unusedSequence = 0x55555555

func (k *connection) falsify(fault *Fault) {
	if fault.WrongSequence {
		k.replySequence ^= unusedSequence
	}
	if fault.WrongName != "" {
		k.replyMethod = wire.NewMethod(fault.WrongName)
	}
}

// answer appends the reply, or nothing if there is none.
func (k *connection) answer(fault *Fault, op *operation) {
	if fault.Error != "" {
		var body wire.Arguments
		if fault.ErrorWithBody && op != nil {
			k.run.origin = wire.Origin{GPID: k.request.Header.GPID, Server: k.node.server}
			body = k.callOf(op).blank(&k.run)
		}
		k.reply(fault.Error, body)
		return
	}
	if fault.OKWithoutBody {
		k.reply(wire.ErrOK, nil)
		return
	}
	if op != nil && op.method == wire.QueryConfig {
		if answer := k.metaAnswer(fault); answer != nil {
			k.reply(wire.ErrOK, answer)
			return
		}
	}
	k.serveOperation(op)
}

// metaAnswer returns the answer to query_cfg that the fault asks for, nil if it asks for none.
func (k *connection) metaAnswer(fault *Fault) wire.Arguments {
	answer := &wire.QueryConfigResponse{Error: wire.ErrForwardToOthers}
	switch {
	case fault.MetaError != "":
		answer.Error = fault.MetaError
	case fault.ForwardTo != "":
		leader, err := netip.ParseAddrPort(fault.ForwardTo)
		if err != nil {
			k.node.cluster.audit.report("Fault.ForwardTo: %v", err)
		}
		answer.Partitions = []wire.PartitionConfiguration{{Primary: leader}}
	case !fault.ForwardNowhere:
		return nil
	}
	return answer
}

// mangle returns the bytes to send for a reply.
func mangle(fault *Fault, reply []byte) []byte {
	if fault.HugeLength {
		copy(reply, []byte{0x7f, 0xff, 0xff, 0xff})
	}
	if fault.Garbage != nil {
		reply = append([]byte(nil), fault.Garbage...)
	}
	if fault.Duplicate {
		reply = append(reply, reply...)
	}
	return reply
}

// deliver sends a reply, now or later.
func (k *connection) deliver(fault *Fault, reply []byte) {
	switch {
	case fault.Truncate > 0:
		k.output = append(k.output, reply[:min(fault.Truncate, len(reply))]...)
		k.hungUp = true
	case fault.Hold:
		if len(k.held) == 0 {
			k.heldAt = len(k.output)
		}
		k.held = append(k.held, reply...)
	case fault.Delay > 0:
		k.node.cluster.working.Go(func() { k.sendLater(fault, reply) })
	case fault.Chunk > 0:
		k.hungUp = !k.flush() || !k.send(reply, fault.Chunk)
	default:
		k.output = append(k.output, reply...)
	}
}

func (k *connection) sendLater(fault *Fault, reply []byte) {
	if k.process.pause(fault.Delay) {
		k.send(reply, fault.Chunk)
	}
}
