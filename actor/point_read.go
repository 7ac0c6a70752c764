package actor

import "context"

// batchAt returns the stored batch with an offset, or, where compaction has dropped
// that, the next one. It asks for no more than that batch.
func (t *Topic) batchAt(ctx context.Context, ref *partitionRef, offset uint64) ([]byte, error) {
	answer := make(chan readReply, 1)
	t.sys.Send(ref.pid.Load(), read{offset: offset, bytesMax: 1, answer: answer})
	select {
	case reply := <-answer:
		if reply.err != nil {
			return nil, t.gone(reply.err)
		}
		return reply.blocks[0].data, nil
	case <-ctx.Done():
		t.sys.Send(ref.pid.Load(), unread{answer})
		return nil, ctx.Err()
	}
}
