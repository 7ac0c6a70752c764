package actor

import (
	"fmt"
	"slices"
	"testing"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// A batch that was posted before, and waits to be posted again when the one in front
// of it is given up, takes that one's place: with the sequence it had, the partition
// would refuse it until what is behind has come as far, and then take it for stored.
func TestABatchBehindOneThatIsGivenUp(t *testing.T) {
	s := logSystem(t, storagefake.New())
	topic := declare(t, s, "orders", TopicConfig{})
	p, ctx := newPublisher(t, topic, PublisherOptions{RetryBackoff: 1, BatchBytes: 1}), testContext(t)
	lane := (*p.lanes.Load())[0]

	lane.mu.Lock()
	lane.running = true // nobody posts before all is prepared
	lane.mu.Unlock()
	var all []Future
	for i := range 10 {
		f, err := p.Publish(ctx, 0, record(fmt.Sprint("r", i)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, f)
	}
	lane.mu.Lock()
	for _, b := range lane.queue[:3] { // so recover leaves them
		lane.number(b)
	}
	givenUp := lane.queue[0]
	lane.queue, lane.lost = lane.queue[1:], true
	lane.running = false
	lane.rouse()
	lane.mu.Unlock()
	lane.end(givenUp, errBroken)

	var want []string
	for i, f := range all[1:] {
		at, err := f.Wait(ctx)
		if err != nil || at.Offset != uint64(i) {
			t.Errorf("record %d is at %+v, %v", i+1, at, err)
		}
		want = append(want, fmt.Sprintf("%d:=r%d", i, i+1))
	}
	if got := readTexts(t, topic, FromBeginning()); !slices.Equal(got, want) {
		t.Errorf("it holds %v, want %v", got, want)
	}
}
