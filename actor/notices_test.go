package actor

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// noted is a system that keeps what it logs.
func noted(t testing.TB) (s *System, said func() string) {
	var mu sync.Mutex
	var log strings.Builder
	s = logSystem(t, storagefake.New(), WithLogger(slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))))
	return s, func() string {
		mu.Lock()
		defer mu.Unlock()
		return log.String()
	}
}

func TestTheSameIsSaidOnceAMinute(t *testing.T) {
	inVirtualTime(t, func(t *testing.T) {
		var mu sync.Mutex
		var log strings.Builder
		s := &System{log: slog.New(slog.NewTextHandler(locked{&mu, &log}, nil))}
		said := func(after time.Duration, want ...string) {
			t.Helper()
			time.Sleep(after) // of the bubble
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if log.Len() == 0 {
				lines = nil
			}
			log.Reset()
			if len(lines) != len(want) {
				t.Fatalf("it said %q, want %q", lines, want)
			}
			for i := range want {
				if !strings.Contains(lines[i], want[i]) {
					t.Errorf("it said %q, want %q", lines[i], want[i])
				}
			}
		}
		s.notice("fails", "q", 1, errors.New("first"))
		said(0, "level=WARN msg=fails queue=q messages=1 error=first")
		s.notice("fails", "q", 2, errors.New("second"))
		s.notice("fails", "q", 3, errors.New("third"))
		said(noticeEvery - 1)
		s.notice("fails", "other", 1, nil)
		said(0, "queue=other messages=1")
		said(1, "queue=q messages=5 error=third")
		said(noticeEvery)
		if len(s.notices.all) != 0 {
			t.Errorf("it remembers %v", s.notices.all)
		}
		s.notice("fails", "q", 1, nil)
		s.notice("fails", "q", 4, nil)
		s.endNotices()
		said(noticeEvery, "messages=1", "messages=4")
	})
}

func TestFailuresAreSaid(t *testing.T) {
	s, said := noted(t)
	b := &bed{t, s, testContext(t)}
	full := QueueConfig{MaxLength: 1}
	b.running("full", full)
	limited := b.running("limited", QueueConfig{DeliveryLimit: 1})
	kept := b.running("kept", QueueConfig{DeliveryLimit: 1, DeadLetterRoutingKey: "dead"})
	b.running("dead", QueueConfig{})
	var all []*QueueConsumer
	for q, h := range map[*Queue]QueueHandler{
		limited: func(_ context.Context, d *QueueDelivery) error {
			if string(d.Body()) == "rejected" {
				return errors.Join(ErrReject, errors.New("no good"))
			}
			panic("a bug")
		},
		kept: func(context.Context, *QueueDelivery) error { return errors.New("the disk is full") },
	} {
		all = append(all, must[*QueueConsumer](t)(q.Consume(b.ctx, ConsumeOptions{}, h)))
	}
	b.send("full", "a", "b", "c")
	b.send("limited", "fails", "rejected")
	b.send("kept", "x")
	for _, want := range [][]string{
		{whyDropped[4], "queue=limited"}, {whyDropped[1], "queue=limited"}, {whyDropped[3], "queue=full"},
		{noticeFails, "queue=limited", "a bug"}, {noticeRejects, "queue=limited", "no good"}, {noticeFails, "queue=kept", "the disk is full"},
	} {
		eventually(t, strings.Join(want, " "), func() bool { return hasLine(said(), want) })
	}
	for _, c := range all {
		mustDo(t, c.Close(b.ctx))
	}
	if hasLine(said(), []string{whyDropped[4], "queue=kept"}) {
		t.Error("what is dead-lettered is not dropped")
	}
}

func hasLine(log string, parts []string) bool {
	for line := range strings.Lines(log) {
		all := true
		for _, p := range parts {
			all = all && strings.Contains(line, p)
		}
		if all {
			return true
		}
	}
	return false
}
