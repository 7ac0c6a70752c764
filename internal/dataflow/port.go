package dataflow

import "fmt"

// Receiver takes a stream of one type. Calls come from one goroutine at a time.
// An error ends the task: it is for what no retry within the task can mend.
type Receiver[T any] interface {
	// Receive takes a batch. The batch belongs to the caller again afterwards.
	Receive(b *Batch[T]) error
	// Watermark says that no record at or below time will follow; idle, that
	// the stream should hold nobody back until it speaks again.
	Watermark(time int64, idle bool) error
}

// KeyedReceiver takes a keyed stream.
type KeyedReceiver[K comparable, T any] interface {
	ReceiveKeyed(b *KeyedBatch[K, T]) error
	Watermark(time int64, idle bool) error
}

// Port is an operator's output: it hands every batch to all who read it.
type Port[T any] struct{ readers []Receiver[T] }

// Connect adds a reader, which must be a Receiver[T].
func (p *Port[T]) Connect(r any) error {
	t, ok := r.(Receiver[T])
	if !ok {
		return fmt.Errorf("internal: %T does not read %T", r, *new(T))
	}
	p.readers = append(p.readers, t)
	return nil
}

// Receive hands on a batch; an empty one is dropped.
func (p *Port[T]) Receive(b *Batch[T]) error {
	if len(b.Values) == 0 {
		return nil
	}
	for _, r := range p.readers {
		if err := r.Receive(b); err != nil {
			return err
		}
	}
	return nil
}

// Watermark hands on a watermark.
func (p *Port[T]) Watermark(time int64, idle bool) error {
	for _, r := range p.readers {
		if err := r.Watermark(time, idle); err != nil {
			return err
		}
	}
	return nil
}

// Read says whether anybody reads the port.
func (p *Port[T]) Read() bool { return len(p.readers) > 0 }
