package actor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/envelope"
	"github.com/troupestream/troupe/internal/queue"
)

// envelopeOf returns the envelope of a record; nil: it has none, as what was published to
// a topic and not by way of an exchange.
func envelopeOf(r *codec.Record) []byte {
	if len(r.Headers) > 0 && r.Headers[0].Key == envelope.Key {
		return r.Headers[0].Value
	}
	return nil
}

// heads reads what the index of a queue needs of records. It is used again for each.
type heads struct {
	queues []uint32
	note   func(uint32)
}

// read reads the head of a record; queues are those that it names, until the next read.
func (h *heads) read(r *codec.Record) (head envelope.Heading, queues []uint32, err error) {
	b := envelopeOf(r)
	if b == nil {
		return head, nil, nil
	}
	if h.note == nil {
		h.note = func(queue uint32) { h.queues = append(h.queues, queue) }
	}
	h.queues = h.queues[:0]
	head, err = envelope.Head(b, h.note)
	return head, h.queues, err
}

// target says whom a record is for.
func (h *heads) target(r *codec.Record) target {
	t := target{bytes: uint32(len(r.Value))}
	if queue, single := envelope.Single(envelopeOf(r)); single && queue != 0 {
		t.queue = queue
		return t
	}
	head, queues, err := h.read(r)
	switch {
	case err != nil || len(queues) > 1 || len(queues) == 1 && queues[0] == 0 || head.Priority != 0 || head.Expires != 0 || head.Due != 0:
		t.queue = seeRecord
	case len(queues) == 1:
		t.queue = queues[0]
	}
	return t
}

// indexing says by what of its messages a queue orders them.
type indexing struct {
	group  by
	tenant by
}

// by is a part of a message.
type by struct {
	what   byWhat
	header string
}

type byWhat uint8

const (
	byNothing byWhat = iota
	byKey
	byRoutingKey
	byHeader
)

// headerPrefix begins the name of a header in GroupBy.
const headerPrefix = "header:"

// newIndexing reads how a queue groups its messages ("", "key", "routing-key" or
// "header:" and a name) and by which header it is fair ("": none).
func newIndexing(groupBy, fairBy string) (ix indexing, err error) {
	switch name, isHeader := strings.CutPrefix(groupBy, headerPrefix); {
	case groupBy == "":
	case groupBy == "key":
		ix.group.what = byKey
	case groupBy == "routing-key":
		ix.group.what = byRoutingKey
	case isHeader && name != "":
		ix.group = by{byHeader, name}
	default:
		return ix, fmt.Errorf("GroupBy is %q: it is key, routing-key, or header: and the name of one", groupBy)
	}
	if fairBy != "" {
		ix.tenant = by{byHeader, fairBy}
	}
	return ix, nil
}

// isPlain says whether nothing of a message but its head matters.
func (ix *indexing) isPlain() bool {
	return ix.group.what == byNothing && ix.tenant.what == byNothing
}

// hash is that of a part of a record; 0: it has none.
func (b *by) hash(r *codec.Record) uint64 {
	var part []byte
	switch b.what {
	case byKey:
		part = r.Key
	case byRoutingKey:
		part = envelope.RoutingKey(envelopeOf(r))
	case byHeader:
		part = headerOf(r, b.header)
	}
	if part == nil {
		return 0
	}
	return max(codec.HashBytes(part), 1)
}

// headerOf returns the value of the first header of a name that a user gave.
func headerOf(r *codec.Record, name string) []byte {
	for i := range r.Headers {
		if h := &r.Headers[i]; h.Key == name {
			if h.Value == nil {
				return []byte{}
			}
			return h.Value
		}
	}
	return nil
}

// offsets is a range of them, from first to before next.
type offsets struct{ first, next uint64 }

func (o offsets) has(offset uint64) bool { return o.first <= offset && offset < o.next }

// intake says which records of a log are messages of a queue: those that name it, and
// where it is bound to the topic itself, all. And what the queue has to know of them.
type intake struct {
	queue uint32
	indexing
	all []offsets
}

// endAt ends where all records are messages. It is false if that was so.
func (in *intake) endAt(offset uint64) bool {
	last := len(in.all) - 1
	if last < 0 || in.all[last].next <= offset {
		return false
	}
	in.all = slices.Clone(in.all)
	in.all[last].next = offset
	return true
}

func (in *intake) takesAll(offset uint64) bool {
	for _, o := range in.all {
		if o.has(offset) {
			return true
		}
	}
	return false
}

// sorter finds the messages on pages. It looks into a record only where it has to.
type sorter struct {
	heads heads
	page  *page
	i     int // of the record that was read
	r     codec.Record
	head  envelope.Heading
	named []uint32 // queues that it names
	err   error
}

// see reads a record, unless it was read just now.
func (s *sorter) see(p *page, i int) {
	if s.page == p && s.i == i {
		return
	}
	s.page, s.i, s.named, s.err = p, i, nil, nil
	if !p.read(i, &s.r) {
		s.err = fmt.Errorf("record %d of its page: %w", i, ErrCorrupt)
		return
	}
	s.head, s.named, s.err = s.heads.read(&s.r)
}

// names returns the queues that a record names, until the next call.
func (s *sorter) names(p *page, i int) ([]uint32, error) {
	s.see(p, i)
	return s.named, s.err
}

// entry is what a queue has to know of a record that is its message.
func (s *sorter) entry(in *intake, p *page, i int) queue.Entry {
	e := queue.Entry{Ref: queue.Ref{Log: p.log, Offset: p.offset(i)}, Arrived: p.appendedAt(i), Bytes: p.targets[i].bytes}
	if p.targets[i].queue != seeRecord && in.isPlain() {
		return e
	}
	s.see(p, i)
	e.Priority, e.Expires, e.Due = s.head.Priority, s.head.Expires, s.head.Due
	if !in.isPlain() && s.err == nil {
		e.Group, e.Tenant = in.group.hash(&s.r), in.tenant.hash(&s.r)
	}
	return e
}

// of appends the messages of one queue that are on a page, from an offset to before
// another.
func (s *sorter) of(dst []queue.Entry, in *intake, p *page, o offsets) []queue.Entry {
	for i := p.from(o.first); i < p.len() && p.offset(i) < o.next; i++ {
		if s.is(in, p, i) {
			dst = append(dst, s.entry(in, p, i))
		}
	}
	return dst
}

// is says whether a record is a message of a queue.
func (s *sorter) is(in *intake, p *page, i int) bool {
	if len(in.all) > 0 && in.takesAll(p.offset(i)) {
		return true
	}
	if to := p.targets[i].queue; to != seeRecord {
		return to == in.queue && to != 0
	}
	named, _ := s.names(p, i)
	return slices.Contains(named, in.queue)
}
