package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/troupestream/troupe/actor"
)

// Who reads the orders: two jobs, which report to a group of their name, and a group.
const (
	jobAnalytics    = "analytics"
	jobFraud        = "fraud"
	groupFulfilment = "fulfilment"
)

var readers = []string{jobAnalytics, jobFraud, groupFulfilment}

// Where tasks go.
const (
	exchangeTasks = "tasks" // to every queue that is bound,
	keyPaid       = "order.paid"
	exchangeDead  = "dead" // and what a queue gives up,
	queueDead     = "dead" // for people to look at
)

// crew are those who compete for the tasks of a queue.
type crew struct {
	queue    string
	binding  string
	title    string
	retry    actor.QueueRetry
	size     int // consumers
	together int // tasks that each works on at a time
	work     func(*company) actor.QueueHandler
}

// crews both see each task: it is stored once, and is in two queues.
var crews = []crew{
	{queue: "email", binding: "order.paid", title: "E-mail worker", size: 2, together: 16, work: (*company).mailer,
		retry: actor.QueueRetry{First: 10 * time.Millisecond, Factor: 2, Max: 200 * time.Millisecond, Jitter: 0.5}},
	{queue: "pdf", binding: "order.#", title: "PDF worker", size: 2, together: 4, work: (*company).printer,
		retry: actor.QueueRetry{First: time.Millisecond, Factor: 2, Max: 20 * time.Millisecond}},
}

func (c crew) config() actor.QueueConfig {
	return actor.QueueConfig{DeadLetterExchange: exchangeDead, DeadLetterRoutingKey: c.queue, Retry: c.retry}
}

// graph draws who gives what to whom, for Mermaid.
func graph() string {
	titles := map[string]string{jobAnalytics: "Analytics", jobFraud: "Fraud", groupFulfilment: "Fulfilment"}
	var b strings.Builder
	b.WriteString("graph LR\n")
	fmt.Fprintf(&b, "shop[Shop] --> %s[%s - topic]\n", bus.TopicName(), bus.TopicName())
	for _, r := range readers {
		fmt.Fprintf(&b, "%s --> %s[%s]\n", bus.TopicName(), r, titles[r])
	}
	fmt.Fprintf(&b, "%s --> %s[%s - exchange and queues]\n", groupFulfilment, exchangeTasks, exchangeTasks)
	for _, c := range crews {
		fmt.Fprintf(&b, "%s --> %s[%s]\n", exchangeTasks, c.queue, c.title)
	}
	return b.String()
}
