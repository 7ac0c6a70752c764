package once

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/actor/topics"
)

// Defaults of a ledger.
const (
	DefaultWindow  = 7 * 24 * time.Hour
	DefaultKeysMax = 1_000_000
	// KeyBytesMax is how long a key can be.
	KeyBytesMax = 1024
)

// Errors of a ledger. Test for them with errors.Is.
var (
	// ErrFull: the ledger remembers as many keys as it may. It forgets none before its
	// time, because that could do something twice.
	ErrFull = errors.New("the ledger is full")
	// ErrKey: the key is empty, or too long.
	ErrKey = errors.New("it is no key")
)

// Options configure a Ledger. The zero value works.
type Options struct {
	// Window is for how long a key is remembered after its newest note: choose more
	// than the longest time for which a message can come again. Default 7 days.
	Window time.Duration
	// KeysMax is how many keys are remembered at a time. Default 1,000,000.
	KeysMax int
}

func (o *Options) withDefaults() error {
	if o.Window == 0 {
		o.Window = DefaultWindow
	}
	if o.KeysMax == 0 {
		o.KeysMax = DefaultKeysMax
	}
	if o.Window < time.Millisecond || o.KeysMax < 1 {
		return fmt.Errorf("a ledger with a window of %v and at most %d keys remembers nothing: give more, or 0 for the defaults", o.Window, o.KeysMax)
	}
	return nil
}

// note is a record of a ledger: that the effect of its key begins, or what came of it.
type note[R any] struct {
	Done   bool
	Result R
}

// Ledger knows what was done, by key. It has one owner at a time: who opens it again,
// by the same name, shuts out the one before. It is safe for concurrent use.
type Ledger[R any] struct {
	name     string
	engine   topics.Engine
	options  Options
	producer *topics.Producer[note[R]]
	reader   *topics.Reader[note[R]]
	now      func() time.Time

	mu    sync.Mutex
	known map[string]*entry[R]
	done  int    // of them
	aged  []aged // in the order of their times
	begin int    // of aged
}

// entry is a key that is known.
type entry[R any] struct {
	state   state
	at      int64         // Unix ms, of its newest note
	offset  uint64        // of its result
	kept    *R            // the result, where its offset is not known
	running chan struct{} // closed when the effect that runs has ended
}

type state uint8

const (
	fresh state = iota // nothing is noted
	begun              // an effect was, and it is not known whether it happened
	done
)

type aged struct {
	key string
	at  int64
}

// Open opens the ledger of a name, which is that of its topic, and makes it if there is
// none. R is what effects return; it must be a type that can be stored. Close it.
func Open[R any](ctx context.Context, e topics.Engine, name string, o Options) (*Ledger[R], error) {
	if err := o.withDefaults(); err != nil {
		return nil, err
	}
	l := &Ledger[R]{name: name, engine: e, options: o, known: map[string]*entry[R]{}, now: time.Now}
	topic := topics.Of[note[R]](name).Partitions(1).Retention(actor.Retention{Age: retention(o.Window)})
	var err error
	if l.producer, err = topic.NewProducer(ctx, e, topics.Named("once")); err != nil {
		return nil, l.failed(err)
	}
	// A partition knows of a producer by its first record. Behind this one, which is of
	// no key, no owner from before can note anything.
	if _, err = l.note(ctx, "", note[R]{}); err == nil {
		err = l.recall(ctx, topic)
	}
	if err == nil {
		l.reader, err = topic.NewReader(ctx, e, topics.ReadFrom(actor.FromEnd()))
	}
	if err != nil {
		return nil, l.failed(errors.Join(err, l.producer.Close(ctx)))
	}
	return l, nil
}

// retention keeps results somewhat longer than their keys are known, so that a result
// that is asked for is there.
func retention(window time.Duration) time.Duration {
	return (window + window/10 + time.Minute).Round(time.Millisecond)
}

func (l *Ledger[R]) failed(err error) error { return fmt.Errorf("ledger %s: %w", l.name, err) }

// recall reads what was noted.
func (l *Ledger[R]) recall(ctx context.Context, topic topics.Topic[note[R]]) (err error) {
	r, err := topic.NewReader(ctx, l.engine, topics.UntilEnd())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for n, err := range r.All(ctx) {
		if err != nil {
			return err
		}
		if len(n.Key) == 0 { // an owner began
			continue
		}
		key := string(n.Key)
		k := l.known[key]
		if k == nil {
			k = &entry[R]{}
			l.known[key] = k
		}
		s := begun
		if n.Value.Done {
			s, k.offset = done, n.Offset
		}
		l.become(k, s)
		l.age(key, k, n.AppendTime)
	}
	l.forget()
	return nil
}

// age notes when the newest note of a key was made.
func (l *Ledger[R]) age(key string, k *entry[R], at int64) {
	k.at = at
	l.aged = append(l.aged, aged{key, at})
}

// forget forgets the keys whose time is over.
func (l *Ledger[R]) forget() {
	before := l.now().Add(-l.options.Window).UnixMilli()
	for ; l.begin < len(l.aged) && l.aged[l.begin].at < before; l.begin++ {
		a := l.aged[l.begin]
		// There may be a newer note of the key, or an effect at work, which makes one.
		if k := l.known[a.key]; k != nil && k.at == a.at && k.running == nil {
			l.become(k, fresh)
			delete(l.known, a.key)
		}
		l.aged[l.begin] = aged{}
	}
	if l.begin > len(l.aged)/2 {
		l.aged = append(l.aged[:0:0], l.aged[l.begin:]...)
		l.begin = 0
	}
}

// become changes the state of a key.
func (l *Ledger[R]) become(k *entry[R], s state) {
	if k.state == done {
		l.done--
	}
	if k.state = s; s == done {
		l.done++
	}
}

// Count is how many keys are remembered as done, and how many others there are: at work,
// or in doubt.
func (l *Ledger[R]) Count() (done, others int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget()
	return l.done, len(l.known) - l.done
}

// Close waits for what is being noted. Effects that run end without a note.
func (l *Ledger[R]) Close(ctx context.Context) error {
	return errors.Join(l.producer.Close(ctx), l.reader.Close())
}
