package dataflow

import (
	"errors"
	"fmt"
)

// WriteBatch gives a batch to a sink's writer. Records that cannot be written
// are treated as the policy says: one on which user code has panicked is tried
// again first, one that was refused is not, since a refusal is about the record.
// The batch stays the caller's. Errors name the sink.
func WriteBatch(env *Env, p Policy, link Link, w SinkWriter, batch any) error {
	o := writing{env: env, policy: p, link: link, writer: w, batch: batch, rest: batch}
	defer o.release()
	for {
		err := write(env, w, o.rest)
		if err == nil {
			return nil
		}
		var bad *RecordError // behind the return: it is allocated
		if !errors.As(err, &bad) {
			return fmt.Errorf("sink %q: %w", env.Node, err)
		}
		if bad.Index < 0 {
			return fmt.Errorf("sink %q: its writer has refused record %d of a batch, which there is not: %w", env.Node, bad.Index, bad)
		}
		if err := o.stumbled(bad); err != nil {
			return err
		}
	}
}

// writing is a batch on its way into a sink.
type writing struct {
	env    *Env
	policy Policy
	link   Link
	writer SinkWriter
	batch  any
	rest   any // what is left of the batch
	tried  int // calls that failed on the first record of the rest
}

// stumbled deals with a record that could not be written, and goes on with it or
// with the next one.
func (o *writing) stumbled(bad *RecordError) error {
	o.env.Metrics.Failures.Add(1)
	if bad.Index > 0 {
		o.tried = 0
	}
	o.tried++
	if bad.Stack != "" && o.tried < o.policy.Attempts {
		o.goOn(bad.Index)
		return o.env.wait(o.policy, o.tried)
	}
	if err := o.giveUp(bad); err != nil {
		return err
	}
	o.tried = 0
	o.goOn(bad.Index + 1)
	return nil
}

// goOn drops the records in front of one.
func (o *writing) goOn(from int) {
	if from == 0 {
		return
	}
	tail := o.link.Tail(o.rest, from)
	o.release()
	o.rest = tail
}

func (o *writing) release() {
	if o.rest != o.batch {
		o.link.Release(o.rest)
	}
}

// write calls the writer, which may be the user's.
func write(env *Env, w SinkWriter, batch any) (err error) {
	defer Recovered(&err)
	return w.Write(env.Context, batch)
}

// giveUp does with a record that cannot be written what the policy says.
func (o *writing) giveUp(bad *RecordError) error {
	env, p, c := o.env, &o.policy, o.link.Columns(o.rest)
	switch p.Then {
	case ToTopic:
		env.Metrics.DeadLetters.Add(1)
		value, flaw := render(o.writer, o.rest, bad.Index)
		d := c.Letter(bad.Index, value)
		d.Topic, d.Node, d.Attempts, d.Origin = p.Topic, env.Node, o.tried, env.OriginOf(c)
		d.Error, d.Stack = bad.Error()+flaw, bad.Stack
		return env.DeadLetter(d)
	case SkipRecord:
		env.Metrics.Skipped.Add(1)
		return nil
	default:
		value, _ := render(o.writer, o.rest, bad.Index)
		return fmt.Errorf("sink %q cannot write a record (%.100q, from %s): %w; give the sink another error policy (OnError) to pass over such records",
			env.Node, value, env.OriginOf(c), bad)
	}
}

// render encodes a record. Its type's own encoding is user code, too.
func render(w SinkWriter, batch any, i int) (value []byte, flaw string) {
	defer func() {
		if cause := recover(); cause != nil {
			flaw = encodingPanicked(cause)
		}
	}()
	return w.Encode(batch, i), ""
}
