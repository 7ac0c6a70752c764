package storage

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// readBatch is how many entries one request asks for at most: 256. The channel
// of a reader holds them all, because the client drops what finds no room.
const readBatch = 256

// readChunkBytes is after how many bytes the server ends its answer to one
// request: 8 MiB. It bounds what waits in the connection.
const readChunkBytes = 8 << 20

// reader makes one read at a time: direct gets in batches. No consumer is
// involved, which would keep the newest block of the log in memory.
type reader struct {
	inbox   string
	answers chan *nats.Msg
	n       uint64
}

func (l *link) addReader() error {
	r := &reader{inbox: l.reads.NewRespInbox() + ".", answers: make(chan *nats.Msg, readBatch+16)}
	if _, err := l.reads.ChanSubscribe(r.inbox+"*", r.answers); err != nil {
		return err
	}
	l.readers <- r
	return nil
}

// borrow waits for an idle reader; give it back with l.readers <- r.
func (l *link) borrow(ctx context.Context) (*reader, error) {
	select {
	case r := <-l.readers:
		return r, nil
	case <-l.dead:
		return nil, errLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var errLost = fmt.Errorf("%w: the connection was lost", ErrUnknown)

// ask publishes a request and returns the subject of the answers to it.
func (r *reader) ask(l *link, subject string, request []byte) (string, error) {
	r.n++
	reply := r.inbox + strconv.FormatUint(r.n, 10)
	if err := l.reads.PublishRequest(subject, reply, request); err != nil {
		return "", fmt.Errorf("%w: %w", errLost, err)
	}
	return reply, nil
}

// answer waits for the next answer; those to earlier requests are dropped. A
// lost answer ends in an error, never in what looks like the end of the log.
func (r *reader) answer(ctx context.Context, l *link, reply string) (*nats.Msg, error) {
	for {
		select {
		case m := <-r.answers:
			if m.Subject == reply {
				return m, nil
			}
		case <-l.dead:
			return nil, errLost
		case <-ctx.Done():
			return nil, fmt.Errorf("the store did not answer: %w", ctx.Err())
		}
	}
}

// chunk asks for at most batch entries from sequence from on, and appends them to
// out. done: the store found nothing more.
func (r *reader) chunk(ctx context.Context, l *link, name string, from, batch uint64, maxBytes int, out []Entry) (_ []Entry, done bool, err error) {
	request := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, from, batch, min(maxBytes, readChunkBytes))
	reply, err := r.ask(l, "$JS.API.DIRECT.GET."+name, request)
	if err != nil {
		return out, false, err
	}
	var previous uint64
	for {
		m, err := r.answer(ctx, l, reply)
		if err != nil {
			return out, false, err
		}
		if status := m.Header.Get("Status"); status != "" {
			return out, status == "404", endOfChunk(m, status, previous)
		}
		e, err := parseEntry(m, name)
		if err == nil && (headerUint(m, "Nats-Last-Sequence") != previous || e.Seq < from) {
			err = fmt.Errorf("entry %d followed %d, and not what the store sent before it", e.Seq, previous)
		}
		if err != nil {
			return out, false, err
		}
		previous = e.Seq
		out = append(out, e)
	}
}

// endOfChunk checks that nothing was lost between the last entry and the end.
func endOfChunk(m *nats.Msg, status string, previous uint64) error {
	switch status {
	case "204":
		if last := headerUint(m, "Nats-Last-Sequence"); last != previous {
			return fmt.Errorf("the answer ended after entry %d, the store says after %d", previous, last)
		}
		return nil
	case "404":
		return nil
	case "503":
		return errNobody
	}
	return fmt.Errorf("the store answered %s %s", status, m.Header.Get("Description"))
}

func headerUint(m *nats.Msg, key string) uint64 {
	v, err := strconv.ParseUint(m.Header.Get(key), 10, 64)
	if err != nil {
		return 0
	}
	return v
}

// parseEntry makes an entry of an answer. The client gave the message an array
// of its own, so the entry may keep it.
func parseEntry(m *nats.Msg, name string) (Entry, error) {
	subject := m.Header.Get("Nats-Subject")
	seq := headerUint(m, "Nats-Sequence")
	kind, ok := strings.CutPrefix(subject, name+".")
	if !ok || len(kind) != 1 || !Kind(kind[0]).Valid() || seq == 0 {
		return Entry{}, fmt.Errorf("%w: entry %d has the subject %q", ErrCorrupt, seq, subject)
	}
	return Entry{Seq: seq, Kind: Kind(kind[0]), Data: m.Data}, nil
}

// last asks for the newest entry of a subject; nil when there is none.
func (r *reader) last(ctx context.Context, l *link, name string, kind Kind) (*Entry, error) {
	reply, err := r.ask(l, "$JS.API.DIRECT.GET."+name+"."+name+"."+string(rune(kind)), nil)
	if err != nil {
		return nil, err
	}
	m, err := r.answer(ctx, l, reply)
	if err != nil {
		return nil, err
	}
	if status := m.Header.Get("Status"); status != "" {
		return nil, endOfChunk(m, status, 0)
	}
	e, err := parseEntry(m, name)
	return &e, err
}
