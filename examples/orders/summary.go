package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/troupestream/troupe/actor/once"
)

// Summary is what became of the orders.
type Summary struct {
	Orders        int `json:"orders"`         // in the topic
	RevenueOrders int `json:"revenue_orders"` // that are in the revenue
	FraudAlerts   int `json:"fraud_alerts"`
	Tasks         int `json:"tasks"` // that have come to the queues
	Acked         int `json:"acked"`
	Dead          int `json:"dead"`        // that were given up
	Retries       int `json:"retries"`     // attempts beyond the first of their tasks
	Redelivered   int `json:"redelivered"` // tasks that came more than once: retried, or in hand at a crash

	cents                 int64 // revenue
	charged, chargedTwice int   // orders, by the bank
	mailed, mailedTwice   int
	sent, printed, buried int // tasks, by the ledgers
}

// check says what does not add up.
func (s Summary) check(orders int) error {
	var errs []error
	same := func(what string, got, want int) {
		if got != want {
			errs = append(errs, fmt.Errorf("%s: %d, and should be %d", what, got, want))
		}
	}
	same("orders in the topic", s.Orders, orders)
	same("orders in the revenue", s.RevenueOrders, orders)
	same("orders charged", s.charged, orders)
	same("orders charged twice", s.chargedTwice, 0)
	same("orders mailed", s.mailed, s.sent)
	same("orders mailed twice", s.mailedTwice, 0)
	same("tasks", s.Tasks, len(crews)*orders)
	same("tasks acknowledged or given up", s.Acked+s.Dead, s.Tasks)
	same("e-mails and invoices", s.sent+s.printed, s.Acked)
	same("tasks given up that were noted", s.buried, s.Dead)
	if errs != nil {
		return fmt.Errorf("it does not add up: %w", errors.Join(errs...))
	}
	return nil
}

func (s Summary) print(w io.Writer) {
	fmt.Fprintf(w, "orders    %7d in the topic\n", s.Orders)
	fmt.Fprintf(w, "revenue   %7d orders, %s in all\n", s.RevenueOrders, money(s.cents))
	fmt.Fprintf(w, "fraud     %7d alerts\n", s.FraudAlerts)
	fmt.Fprintf(w, "charged   %7d orders, %d of them twice\n", s.charged, s.chargedTwice)
	fmt.Fprintf(w, "tasks     %7d = %d acknowledged (%d e-mails, %d invoices) + %d given up\n", s.Tasks, s.Acked, s.sent, s.printed, s.Dead)
	fmt.Fprintf(w, "retries   %7d attempts beyond the first; %d tasks came more than once, after those or a crash\n", s.Retries, s.Redelivered)
}

// sumUp sums up what is in the results, the topic, the queues and the ledgers, whichever
// runs have put it there, and writes the results that are still missing.
func (c *company) sumUp(ctx context.Context) (s Summary, err error) {
	p, err := c.look(ctx)
	if err != nil {
		return s, err
	}
	s.Orders = p.published
	for _, q := range p.queues {
		s.Tasks += int(q.Taken)
		s.Acked += int(q.Acked)
		s.Dead += int(q.Dead)
	}
	s.charged, s.chargedTwice = c.bank.times()
	s.mailed, s.mailedTwice = c.mail.times()
	err = eachLine(c.path("revenue.ndjson"), func(m Minute) {
		s.RevenueOrders += m.Orders
		s.cents += m.Cents
	})
	if err == nil {
		err = eachLine(c.path("alerts.ndjson"), func(Alert) { s.FraudAlerts++ })
	}
	if err == nil {
		err = c.tasks(ctx, &s)
	}
	return s, err
}

// tasks writes down what became of every task.
func (c *company) tasks(ctx context.Context, s *Summary) error {
	var all []Task
	for _, l := range []struct {
		ledger *once.Ledger[Task]
		count  *int
	}{{c.mails, &s.sent}, {c.invoices, &s.printed}, {c.dead, &s.buried}} {
		err := l.ledger.All(ctx, func(d once.Done[Task]) bool {
			*l.count++
			all = append(all, d.Result)
			return true
		})
		if err != nil {
			return err
		}
	}
	slices.SortFunc(all, func(a, b Task) int { return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Crew, b.Crew)) })
	for _, t := range all {
		s.Retries += max(t.Attempts, 1) - 1
		if t.Redelivered {
			s.Redelivered++
		}
	}
	return writeLines(c.path("tasks.ndjson"), all)
}

// eachLine calls f with every line of a result.
func eachLine[T any](path string, f func(T)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	d := json.NewDecoder(bufio.NewReader(file))
	for {
		var v T
		if err := d.Decode(&v); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s is not as it was written: begin anew with another -data: %w", path, err)
		}
		f(v)
	}
}

// writeLines writes a file at once and whole.
func writeLines[T any](path string, all []T) error {
	var text []byte
	for _, v := range all {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	if err := os.WriteFile(path+".tmp", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
