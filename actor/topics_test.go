package actor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

func TestDeclareIsIdempotentAndNamesConflicts(t *testing.T) {
	s := logSystem(t, storagefake.New())
	config := TopicConfig{Partitions: 3, Durability: Interval, Compression: Zstd}
	topic := declare(t, s, "orders", config)
	if again := declare(t, s, "orders", config); again != topic {
		t.Error("the same declaration gave another handle")
	}
	tests := []struct {
		config TopicConfig
		says   string
	}{
		{TopicConfig{Partitions: 4, Durability: Interval, Compression: Zstd}, "it has partitions 3, not 4"},
		{TopicConfig{Partitions: 3, Compression: Zstd}, "it has durability interval, not fsync"},
		{TopicConfig{Partitions: 3, Durability: Interval}, "it has compression zstd, not none"},
	}
	for _, test := range tests {
		_, err := s.Declare(testContext(t), "orders", test.config)
		if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "orders") {
			t.Errorf("got %v, want an ErrConflict that says %q", err, test.says)
		}
	}
}

func TestDeclareRefusesWhatMakesNoSense(t *testing.T) {
	s := logSystem(t, storagefake.New())
	for _, name := range []string{"", "Orders", "1st", "a_b", "a.b", "-a", strings.Repeat("a", 64), "ä"} {
		if _, err := s.Declare(testContext(t), name, TopicConfig{}); err == nil {
			t.Errorf("the name %q was accepted", name)
		}
	}
	for _, config := range []TopicConfig{{Partitions: -1}, {Partitions: PartitionsMax + 1}, {Durability: 9}, {Compression: 9}} {
		if _, err := s.Declare(testContext(t), "orders", config); err == nil {
			t.Errorf("%+v was accepted", config)
		}
	}
	if _, err := s.Topic(testContext(t), "orders"); !errors.Is(err, ErrNoTopic) {
		t.Errorf("an unknown topic: %v", err)
	}
}

func TestTopicsSurviveARestart(t *testing.T) {
	store := storagefake.New()
	s := NewSystem(store)
	declare(t, s, "b", TopicConfig{Partitions: 2, Compression: S2, Retention: Retention{Bytes: 1000, Records: 10}})
	declare(t, s, "a", TopicConfig{Durability: Memory})
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	s = logSystem(t, store.Restart())
	all, err := s.Topics(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []TopicInfo{
		{"a", TopicConfig{Partitions: 1, Durability: Memory, Retention: Retention{Age: DefaultRetention}}},
		{"b", TopicConfig{Partitions: 2, Compression: S2, Retention: Retention{Bytes: 1000, Records: 10}}},
	}
	if fmt.Sprint(all) != fmt.Sprint(want) {
		t.Errorf("topics %v, want %v", all, want)
	}
}

func TestDeleteTopic(t *testing.T) {
	store := storagefake.New()
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{Partitions: 2})
	declare(t, s, "orders-2", TopicConfig{})
	p := newProducer(t, topic, ProducerOptions{})
	mustAppend(t, p, 0, "a")
	if err := s.DeleteTopic(testContext(t), "orders"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Append(testContext(t), 0, records("b")); !errors.Is(err, ErrStopped) {
		t.Errorf("append to a deleted topic: %v", err)
	}
	if err := s.DeleteTopic(testContext(t), "orders"); !errors.Is(err, ErrNoTopic) {
		t.Errorf("a second deletion: %v", err)
	}
	if logs, _ := store.Logs(testContext(t), "topic_orders_"); len(logs) != 0 {
		t.Errorf("logs are left: %v", logs)
	}
	topic = declare(t, s, "orders", TopicConfig{})
	if got := readAll(t, openReader(t, topic, 0, FromBeginning())); len(got) != 0 {
		t.Errorf("a new topic of that name holds %v", got)
	}
}

// Two processes declare at the same time: the directory is a compare-and-swap,
// so neither loses what the other wrote.
func TestConcurrentDeclarationsOfTwoSystems(t *testing.T) {
	store := storagefake.New()
	systems := []*System{logSystem(t, store), logSystem(t, store)}
	var group sync.WaitGroup
	for i, s := range systems {
		group.Go(func() {
			for n := range 5 {
				if _, err := s.Declare(testContext(t), fmt.Sprintf("t%d-%d", i, n), TopicConfig{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	all, err := systems[0].Topics(testContext(t))
	if err != nil || len(all) != 10 {
		t.Errorf("%d topics, %v, want 10", len(all), err)
	}
}

func TestDirectoryThatCannotBeRead(t *testing.T) {
	for says, content := range map[string]string{
		"damaged":        "{",
		"update Troupe":  `{"version":5,"topics":{}}`,
		"makes no sense": `{"version":1,"topics":{"orders":{"partitions":0}}}`,
	} {
		store := storagefake.New()
		log, err := store.OpenLog(testContext(t), metaLog, storage.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Append(testContext(t), storage.State, []byte(content), 0); err != nil {
			t.Fatal(err)
		}
		s := logSystem(t, store)
		if _, err := s.Topic(testContext(t), "orders"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("directory %s: got %v, want an error that says %q", content, err, says)
		}
	}
}

func TestALostAnswerOfTheDirectory(t *testing.T) {
	for name, fault := range map[string]storagefake.Fault{"answer": {LoseReply: true}, "request": {LoseRequest: true}} {
		t.Run(name, func(t *testing.T) {
			store := storagefake.New()
			store.OnAppend(func(a storagefake.Append) storagefake.Fault {
				if a.Log == metaLog && a.N == 1 {
					return fault
				}
				return storagefake.Fault{}
			})
			s := logSystem(t, store)
			declare(t, s, "orders", TopicConfig{Partitions: 2})
			if all, err := s.Topics(testContext(t)); err != nil || len(all) != 1 {
				t.Errorf("topics %v, %v", all, err)
			}
		})
	}
}

// dying is a store whose process ends when it is to delete the log after so many.
type dying struct {
	storage.Store
	after int
}

var errDied = errors.New("the process has ended")

func (d *dying) DeleteLog(ctx context.Context, name string) error {
	if d.after--; d.after < 0 {
		return errDied
	}
	return d.Store.DeleteLog(ctx, name)
}

// A process ends anywhere in a deletion: what is left is no topic, and does not come
// back when one of that name is declared, or deleted again.
func TestInterruptedDeletion(t *testing.T) {
	const partitions = 3
	for after := range partitions + 1 {
		for _, again := range []bool{false, true} {
			store := storagefake.New()
			s := NewSystem(&dying{store, after})
			topic := declare(t, s, "orders", TopicConfig{Partitions: partitions})
			p := newProducer(t, topic, ProducerOptions{})
			for i := range partitions {
				mustAppend(t, p, i, "a", "b")
			}
			store.OnAppend(func(a storagefake.Append) storagefake.Fault {
				if a.Log == metaLog && a.N >= 3 { // after the declaration, and the note that it is to go
					return storagefake.Fault{Err: ErrFull}
				}
				return storagefake.Fault{}
			})
			if err := s.DeleteTopic(testContext(t), "orders"); !errors.Is(err, errDied) && !errors.Is(err, ErrFull) {
				t.Fatalf("after %d logs: %v", after, err)
			}
			if err := s.Close(testContext(t)); err != nil {
				t.Fatal(err)
			}
			store = store.Restart()
			s = logSystem(t, store)
			if _, err := s.Topic(testContext(t), "orders"); !errors.Is(err, ErrNoTopic) {
				t.Errorf("after %d logs it is still there: %v", after, err)
			}
			if all, err := s.Topics(testContext(t)); err != nil || len(all) != 0 {
				t.Errorf("after %d logs there are %v, %v", after, all, err)
			}
			if again {
				if err := s.DeleteTopic(testContext(t), "orders"); err != nil {
					t.Errorf("after %d logs, deleted again: %v", after, err)
				}
				if logs, err := store.Logs(testContext(t), partitionLogs("orders")); err != nil || len(logs) != 0 {
					t.Errorf("after %d logs there are still %v, %v", after, logs, err)
				}
			}
			next := declare(t, s, "orders", TopicConfig{Partitions: partitions + 1})
			for i := range next.Partitions() {
				if b, err := next.Bounds(testContext(t), i); err != nil || b.Next != 0 {
					t.Errorf("after %d logs the new topic holds %+v, %v", after, b, err)
				}
			}
			if next.Incarnation() <= topic.Incarnation() {
				t.Errorf("after %d logs the new one has the incarnation %d, after %d", after, next.Incarnation(), topic.Incarnation())
			}
		}
	}
}
