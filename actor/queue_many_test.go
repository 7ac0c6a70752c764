package actor

import (
	"fmt"
	goruntime "runtime"
	"sync"
	"testing"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// manyQueues is how many queues one process is to have without noticing.
const manyQueues = 10_000

func heapBytes() uint64 {
	goruntime.GC()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

func (b *queueBed) declareMany(n int) {
	b.Helper()
	var group sync.WaitGroup
	for w := range 32 {
		group.Go(func() {
			for i := w; i < n; i += 32 {
				b.declare(fmt.Sprintf("queue-%d", i), QueueConfig{})
			}
		})
	}
	group.Wait()
}

// awaitAll waits until all queues have their state.
func (b *queueBed) awaitAll() {
	b.Helper()
	d, err := b.sys.directory(testContext(b))
	if err != nil {
		b.Fatal(err)
	}
	for _, q := range d.byName.all() {
		b.stats(q)
	}
}

// Ten thousand queues that do nothing take little memory, and start and stop in no time.
func TestManyIdleQueuesAreCheap(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("measures memory")
	}
	store := storagefake.New()
	b := newQueueBed(t, store)
	before := heapBytes()
	began := time.Now()
	b.declareMany(manyQueues)
	declared := time.Since(began)
	b.awaitAll()
	used := int64(heapBytes()) - int64(before) // what other tests have left may go meanwhile
	began = time.Now()
	b.close()
	closed := time.Since(began)
	began = time.Now()
	b = newQueueBed(t, store.Restart())
	b.awaitAll()
	restarted := time.Since(began)
	b.close()
	t.Logf("%d queues: declared in %v, %d MB, closed in %v, restarted in %v", manyQueues, declared, used>>20, closed, restarted)
	if most := int64(200 << 20); used > most {
		t.Errorf("%d idle queues take %d MB, and may take %d MB", manyQueues, used>>20, most>>20)
	}
}
