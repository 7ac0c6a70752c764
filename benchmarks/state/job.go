package state

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/troupestream/troupe/topology"
)

// Update is a record: something happened to a key.
type Update struct {
	Key int64
	At  int64 // when it was due, in nanoseconds of the script; 0: as soon as possible
}

// valueBytes is what a key's state takes when stored.
const valueBytes = 100

// Value is the state of a key.
type Value struct {
	N   int64 // updates
	At  int64 // of the newest one
	Pad [valueBytes - 16]byte
}

// AppendBinary implements encoding.BinaryAppender.
func (v *Value) AppendBinary(b []byte) ([]byte, error) {
	b = binary.LittleEndian.AppendUint64(b, uint64(v.N))
	b = binary.LittleEndian.AppendUint64(b, uint64(v.At))
	return append(b, v.Pad[:]...), nil
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (v *Value) MarshalBinary() ([]byte, error) { return v.AppendBinary(make([]byte, 0, valueBytes)) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (v *Value) UnmarshalBinary(b []byte) error {
	if len(b) != valueBytes {
		return fmt.Errorf("a value has %d bytes, not %d", valueBytes, len(b))
	}
	v.N = int64(binary.LittleEndian.Uint64(b))
	v.At = int64(binary.LittleEndian.Uint64(b[8:]))
	copy(v.Pad[:], b[16:])
	return nil
}

// Topology is the job that is checkpointed.
func Topology(updates topology.Source[Update], out topology.Sink[Value]) *topology.Builder {
	b := topology.New("checkpoints")
	in := topology.From(b, "updates", updates)
	byKey := topology.KeyBy(in, "by-key", func(u Update) int64 { return u.Key })
	values := topology.Fold(byKey, "apply", func(_ int64, v Value, u Update) Value {
		v.N++
		v.At = u.At
		return v
	})
	topology.To(values, "observe", out)
	return b
}

// meter is the sink: it counts, and notes how late each record is.
type meter struct {
	script *script

	mu      sync.Mutex
	seen    int64 // since the job began
	updates int64 // the sum of N since reset
	first   time.Time
	target  int64
	reached chan struct{} // closed when target records were seen
	since   int64         // records due from then on are timed; 0: none are
	late    []time.Duration
}

// Info implements topology.Sink.
func (m *meter) Info() topology.SinkInfo {
	return topology.SinkInfo{Guarantee: topology.AtLeastOnce, Inline: true}
}

// Open implements topology.Sink.
func (m *meter) Open(context.Context, topology.SinkOpen) (topology.SinkWriter[Value], error) {
	return meterWriter{m}, nil
}

// restart begins to count anew: the job does.
func (m *meter) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen, m.first, m.reached = 0, time.Time{}, nil
}

// await waits until so many records were seen since the job began.
func (m *meter) await(ctx context.Context, n int64) error {
	m.mu.Lock()
	m.target, m.reached = n, make(chan struct{})
	reached := m.reached
	m.check()
	m.mu.Unlock()
	return wait(ctx, reached)
}

func (m *meter) check() {
	if m.reached != nil && m.seen >= m.target {
		close(m.reached)
		m.reached = nil
	}
}

// time begins to note how late records are, or ends it and returns the notes.
func (m *meter) time(since int64) []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	late := m.late
	m.since, m.late = since, nil
	return late
}

// reset begins a new sum of N and returns the last one.
func (m *meter) reset() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.updates
	m.updates = 0
	return n
}

type meterWriter struct{ m *meter }

func (w meterWriter) Write(_ context.Context, b *topology.Batch[Value]) error {
	now, m := w.m.script.now(), w.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == 0 {
		m.first = time.Now()
	}
	m.seen += int64(len(b.Values))
	for i := range b.Values {
		v := &b.Values[i]
		m.updates += v.N
		if m.since > 0 && v.At >= m.since {
			m.late = append(m.late, time.Duration(now-v.At))
		}
	}
	m.check()
	return nil
}

func (w meterWriter) Prepare(context.Context, uint64) ([]byte, error) { return nil, nil }
func (w meterWriter) Commit(context.Context, uint64) error            { return nil }
func (w meterWriter) Close() error                                    { return nil }

// wait waits for a channel to be closed.
func wait(ctx context.Context, closed <-chan struct{}) error {
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
