package dataflow

import (
	"errors"
	"fmt"
)

// WriteBatch gives a batch to a sink's writer. Records that the sink refuses
// are treated as the policy says; they are not tried again, since a refusal is
// about the record. The batch stays the caller's.
func WriteBatch(env *Env, p Policy, link Link, w SinkWriter, batch any) error {
	rest := batch
	defer func() {
		if rest != batch {
			link.Release(rest)
		}
	}()
	for {
		err := w.Write(env.Context, rest)
		if err == nil {
			return nil
		}
		var bad *RecordError // behind the return: it is allocated
		if !errors.As(err, &bad) {
			return err
		}
		if err := refused(env, p, link, w, rest, bad); err != nil {
			return err
		}
		tail := link.Tail(rest, bad.Index+1)
		if rest != batch {
			link.Release(rest)
		}
		rest = tail
	}
}

// refused deals with a record that a sink could not write.
func refused(env *Env, p Policy, link Link, w SinkWriter, batch any, bad *RecordError) error {
	env.Metrics.Failures.Add(1)
	switch p.Then {
	case ToTopic:
		c := link.Columns(batch)
		time := NoTime
		if bad.Index < len(c.Times) {
			time = c.Times[bad.Index]
		}
		env.Metrics.DeadLetters.Add(1)
		return env.DeadLetter(DeadLetter{Topic: p.Topic, Node: env.Node, Value: w.Encode(batch, bad.Index),
			Time: time, Error: bad.Error(), Attempts: 1, Origin: env.OriginOf(c)})
	case SkipRecord:
		env.Metrics.Skipped.Add(1)
		return nil
	default:
		return fmt.Errorf("sink %q cannot write a record: %w", env.Node, bad)
	}
}
