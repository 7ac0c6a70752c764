package actor

import (
	"bytes"
	"fmt"
	goruntime "runtime"
	"testing"

	"github.com/troupestream/troupe/internal/codec"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// bytesStored is how many bytes the logs of a store have whose names begin so.
func bytesStored(t testing.TB, s storage.Store, prefix string) (sum uint64) {
	t.Helper()
	for _, name := range must[[]string](t)(s.Logs(testContext(t), prefix)) {
		log := must[storage.Log](t)(s.OpenLog(testContext(t), name, storage.LogOptions{}))
		sum += must[storage.Bounds](t)(log.Bounds(testContext(t))).Bytes
		mustDo(t, log.Close())
	}
	return sum
}

// publishToAll publishes messages of 1 KB to so many queues, and returns what is stored.
func publishToAll(t *testing.T, queues, messages int) uint64 {
	ctx, store := testContext(t), storagefake.New()
	s := logSystem(t, store)
	x := must[*Exchange](t)(s.DeclareExchange(ctx, "orders", ExchangeConfig{Type: Fanout}))
	var all []*Queue
	for i := range queues {
		all = append(all, must[*Queue](t)(s.DeclareQueue(ctx, fmt.Sprint("q", i), QueueConfig{})))
		mustDo(t, s.Bind(ctx, Binding{Exchange: "orders", Queue: all[i].Name()}))
	}
	p := must[*ExchangePublisher](t)(x.NewPublisher(ctx, ExchangePublisherOptions{}))
	body := bytes.Repeat([]byte("0123456789abcdef"), 64)
	for range messages {
		must[Receipt](t)(p.Publish(ctx, &Message{Body: body}))
	}
	mustDo(t, p.Flush(ctx), p.Close(ctx))
	for _, q := range all {
		eventually(t, "all to be in the queue", func() bool { return must[QueueStats](t)(q.Stats(ctx)).Live == messages })
	}
	return bytesStored(t, store, "")
}

// However many queues a message is for, it is stored once.
func TestPublishingToManyQueuesIsOneAppend(t *testing.T) {
	const messages = 300
	one, many := publishToAll(t, 1, messages), publishToAll(t, 40, messages)
	if one > messages*1200 || many > one+one/8 {
		t.Errorf("%d messages of 1 KB take %d bytes for one queue and %d for 40", messages, one, many)
	}
}

// One log is a stream, a queue and a table at once, and takes what one copy takes.
func TestOneLogIsStreamQueueAndTable(t *testing.T) {
	const messages, keys = 20_000, 100
	ctx, store := testContext(t), storagefake.New()
	s := logSystem(t, store)
	topic := declare(t, s, "orders", TopicConfig{})
	producer := newProducer(t, topic, ProducerOptions{})
	for i := 0; i < messages; {
		var batch []codec.Record
		for range 200 {
			value := fmt.Appendf(nil, "order %d of a customer, with %0180d", i, i)
			batch = append(batch, codec.Record{Key: fmt.Appendf(nil, "customer-%d", i%keys), Value: value, Time: NoTime})
			i++
		}
		must[Ack](t)(producer.Append(ctx, 0, batch))
	}
	copyOnce := bytesStored(t, store, "topic_orders_")

	q := must[*Queue](t)(s.DeclareQueue(ctx, "work", QueueConfig{}))
	mustDo(t, s.BindTopic(ctx, "orders", "work", FromBeginning()))
	c := must[*QueueConsumer](t)(q.Subscribe(ctx, ConsumeOptions{Prefetch: 500}))
	table, next := map[string]string{}, uint64(0)
	reader := openReader(t, topic, 0, FromBeginning())
	for next < messages {
		batch := must[*RecordBatch](t)(reader.Next(ctx))
		for r := (codec.Record{}); batch.Next(&r); next++ {
			table[string(r.Key)] = string(r.Value)
		}
	}
	for range messages {
		d := must[*QueueDelivery](t)(c.Next(ctx))
		mustDo(t, d.Ack())
	}
	eventually(t, "all to be settled", func() bool { return must[QueueStats](t)(q.Stats(ctx)).Acked == messages })
	if len(table) != keys || table["customer-7"] != fmt.Sprintf("order %d of a customer, with %0180d", messages-keys+7, messages-keys+7) {
		t.Errorf("the table has %d customers; of one %q", len(table), table["customer-7"])
	}
	if all := bytesStored(t, store, ""); float64(all) > 1.05*float64(copyOnce) {
		t.Errorf("a copy takes %d bytes, and all together %d", copyOnce, all)
	}
}

// heap is what is in use after a collection.
func heap() uint64 {
	goruntime.GC()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return m.HeapAlloc
}

// backlog is a queue on disk that nobody consumes, beside a page cache of so many bytes.
func backlog(t testing.TB, cache int) (q *Queue, add func(messages int)) {
	ctx := testContext(t)
	store := must[storage.Store](t)(storage.Open(ctx, t.TempDir(), storage.Options{}))
	t.Cleanup(func() { mustDo(t, store.Close()) })
	limits := DefaultPartitionLimits()
	limits.CacheBytes = 64 << 10
	s := logSystem(t, store, WithPartitionLimits(limits))
	s.pages.max = cache
	topic := declare(t, s, "orders", TopicConfig{Durability: Interval})
	q = must[*Queue](t)(s.DeclareQueue(ctx, "work", QueueConfig{}))
	mustDo(t, s.BindTopic(ctx, "orders", "work", FromBeginning()))
	producer := newProducer(t, topic, ProducerOptions{})
	batch := benchRecords(5000)
	live := 0
	return q, func(messages int) {
		for range messages / len(batch) {
			must[Ack](t)(producer.Append(testContext(t), 0, batch))
		}
		live += messages
		eventually(t, "all to be in the queue", func() bool { return must[QueueStats](t)(q.Stats(testContext(t))).Live == live })
	}
}

// A queue in which more waits takes no more memory: the messages stay in the log.
func TestABacklogTakesNoMemory(t *testing.T) {
	_, add := backlog(t, 1<<20)
	for range 3 {
		add(50_000) // more than is resident
	}
	before := heap()
	for range 4 {
		add(50_000)
	}
	if after := heap(); after > before+8<<20 {
		t.Errorf("with 200,000 messages more, of 100 bytes, it is %d KiB more", (after-before)>>10)
	}
}
