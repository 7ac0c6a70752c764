package actor

import (
	"strings"
	"testing"
	"time"
)

// What is said of the order of messages is no more than what holds.
func TestQueueGuarantees(t *testing.T) {
	for name, c := range map[string]struct {
		config  QueueConfig
		options ConsumeOptions
		of      string
		want    string
	}{
		"defaults":         {QueueConfig{}, ConsumeOptions{}, "order", "only consumer"},
		"many handlers":    {QueueConfig{}, ConsumeOptions{Concurrency: 8}, "order", "none: 8 handlers"},
		"keyed":            {QueueConfig{GroupBy: "key"}, ConsumeOptions{Concurrency: 8}, "order", "one group (key) are done one at a time and in order, also across retries"},
		"strict":           {QueueConfig{SingleActive: true, Retry: QueueRetry{First: RetryAtOnce}}, ConsumeOptions{Prefetch: 1}, "order", "strict"},
		"backs off":        {QueueConfig{SingleActive: true}, ConsumeOptions{Prefetch: 1}, "order", "but for messages that fail"},
		"default retries":  {QueueConfig{}, ConsumeOptions{}, "failures", "after 100ms, then 2 times as long each, at most 1m0s"},
		"not quite strict": {QueueConfig{SingleActive: true}, ConsumeOptions{}, "order", "but for messages that fail"},
		"delayed retries":  {QueueConfig{SingleActive: true, Retry: QueueRetry{First: time.Second, Max: time.Minute}}, ConsumeOptions{Prefetch: 1}, "order", "but for messages that fail"},
		"backoff":          {QueueConfig{Retry: QueueRetry{First: time.Second, Max: time.Minute}}, ConsumeOptions{}, "failures", "after 1s, then 2 times as long each, at most 1m0s; in the end dropped"},
		"dead letters":     {QueueConfig{DeadLetterExchange: "dlx"}, ConsumeOptions{}, "failures", "exchange dlx, at least once"},
		"a dead queue":     {QueueConfig{DeadLetterRoutingKey: "dead"}, ConsumeOptions{}, "failures", "queue dead, at least once"},
		"at most once":     {QueueConfig{}, ConsumeOptions{AtMostOnce: true}, "delivery", "at most once"},
		"manual":           {QueueConfig{}, ConsumeOptions{ManualAck: true}, "delivery", "when the handler says so"},
		"no limit":         {QueueConfig{DeliveryLimit: Unlimited}, ConsumeOptions{}, "attempts", "without limit"},
		"expiry":           {QueueConfig{TTL: time.Hour, MaxLength: Unlimited}, ConsumeOptions{}, "limits", "unlimited messages"},
		"transient":        {QueueConfig{Transient: true}, ConsumeOptions{}, "restart", "forgotten"},
	} {
		config := c.config.withDefaults()
		found := ""
		for _, g := range guarantees(&config, c.options) {
			if g.Of == c.of {
				found = g.Says
			}
		}
		if !strings.Contains(found, c.want) {
			t.Errorf("%s: %s: %q does not say %q", name, c.of, found, c.want)
		}
	}
}
