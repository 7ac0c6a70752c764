package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/troupestream/troupe/actor"
	"github.com/troupestream/troupe/internal/storage"
	"github.com/troupestream/troupe/internal/storage/storagefake"
)

// patience is how long a test waits for what should happen at once.
const patience = 30 * time.Second

// parkSome leaves keys a and b of topic orders parked in group mailers, a with a
// record behind the one that failed.
func parkSome(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	store, err := storage.Open(ctx, dir, storage.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	sys := actor.NewSystem(store, actor.WithLogger(slog.New(slog.DiscardHandler)))
	defer func() {
		if err := errors.Join(sys.Close(ctx), store.Close()); err != nil {
			t.Error(err)
		}
	}()
	fill(ctx, t, sys, "a=bad", "b=bad", "a=behind", "c=good")
	seen := make(chan struct{}, 1)
	c, err := sys.NewConsumer(ctx, actor.ConsumerOptions{Group: "mailers", Topics: []string{"orders"}, OnFailure: actor.ParkKey()},
		func(_ context.Context, d *actor.Delivery) error {
			switch string(d.Value) {
			case "bad":
				return errors.New("no such address")
			case "good":
				seen <- struct{}{}
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-seen:
	case <-ctx.Done():
		t.Fatal("timed out")
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// fill publishes "key=value" to topic orders.
func fill(ctx context.Context, t *testing.T, sys *actor.System, records ...string) {
	t.Helper()
	topic, err := sys.Declare(ctx, "orders", actor.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := topic.NewProducer(actor.ProducerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range records {
		key, value, _ := strings.Cut(one, "=")
		if _, err := p.Append(ctx, 0, []actor.Record{{Key: []byte(key), Value: []byte(value), Time: actor.NoTime}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// Every verb has help, and the help names every verb.
func TestHelpOfVerbs(t *testing.T) {
	for _, v := range verbs() {
		family := strings.Fields(v.name)[0]
		for _, args := range []string{v.name + " -h", v.name + " -json --help"} {
			status, out, errs := run(strings.Fields(args)...)
			if status != statusOK || errs != "" || !strings.Contains(out, "troupe "+v.name) || !strings.Contains(out, v.about) || !strings.Contains(out, "-data directory") {
				t.Errorf("troupe %s: status %d, printed %q and %q", args, status, out, errs)
			}
		}
		if _, out, _ := run(family, "-h"); !strings.Contains(out, "troupe "+v.name) {
			t.Errorf("the help of %s does not name %s", family, v.name)
		}
	}
	for _, args := range [][]string{{"topic", "frobnicate"}, {"group", "park", "frobnicate"}, {"queue", "lists"}} {
		status, out, errs := run(args...)
		if status != statusUsage || out != "" || strings.Count(errs, "\n") != 3 || !strings.Contains(errs, "troupe "+args[0]+" has ") || !strings.Contains(errs, " list, ") {
			t.Errorf("troupe %v: status %d, printed %q and %q", args, status, out, errs)
		}
	}
	for _, args := range [][]string{{"topic"}, {"group"}, {"exchange"}, {"queue"}, {"group", "park"}, {"queue", "dlq"}} {
		if status, out, errs := run(args...); status != statusUsage || out != "" || !strings.Contains(errs, "troupe "+args[0]+" list") {
			t.Errorf("troupe %v: status %d, printed %q and %q", args, status, out, errs)
		}
	}
}

func TestDataDirectory(t *testing.T) {
	t.Setenv(dataVariable, "")
	if status, _, errs := run("topic", "list"); status != statusUsage || !strings.Contains(errs, "which data directory? Say -data, or set TROUPE_DATA") {
		t.Errorf("without one: status %d, %s", status, errs)
	}
	missing := t.TempDir() + "/none"
	if status, _, errs := run("topic", "list", "-data", missing); status != statusFailed || errs != "troupe: topic list: data directory "+missing+": no such file or directory\n" {
		t.Errorf("one that there is not: status %d, %s", status, errs)
	}
	foreign := t.TempDir()
	if status, _, errs := run("topic", "list", "-data", foreign); status != statusFailed || !strings.Contains(errs, "it is none, for it has no troupe.json") {
		t.Errorf("one that is none: status %d, %s", status, errs)
	}
	if left, err := os.ReadDir(foreign); err != nil || len(left) > 0 {
		t.Errorf("it was made one: %v, %v", left, err)
	}
	dir := t.TempDir()
	store, err := storage.Open(t.Context(), dir, storage.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if status, _, errs := run("topic", "list", "-data", dir); status != statusFailed || !strings.Contains(errs, "is held by process") {
		t.Errorf("one that is in use: status %d, %s", status, errs)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if status, out, errs := run("topic", "list", "-data", dir); status != statusOK || !strings.HasPrefix(out, "NAME") {
		t.Errorf("one that was in use: status %d, %s%s", status, out, errs)
	}
}

// announcing is an output that says when a text comes.
type announcing struct {
	text string
	came chan struct{}
	all  strings.Builder
}

func (a *announcing) Write(b []byte) (int, error) {
	a.all.Write(b)
	if strings.Contains(string(b), a.text) {
		close(a.came)
	}
	return len(b), nil
}

// A consumer that follows ends in good order when it is told to, and has committed.
func TestConsumeIsInterrupted(t *testing.T) {
	for name, args := range map[string][]string{"alone": nil, "group": {"-group", "mailers"}} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(dataVariable, t.TempDir())
			if status, _, errs := run("topic", "create", "orders"); status != statusOK {
				t.Fatal(errs)
			}
			c := &cli{in: strings.NewReader("a\nb\n")}
			if status := c.run(t.Context(), []string{"topic", "produce", "orders"}, io.Discard, io.Discard); status != statusOK {
				t.Fatal("it was not produced")
			}
			ctx, cancel := context.WithCancel(t.Context())
			out, errs := &announcing{text: "\tb\n", came: make(chan struct{})}, new(strings.Builder)
			ended := make(chan int, 1)
			go func() { ended <- c.run(ctx, append([]string{"topic", "consume", "orders"}, args...), out, errs) }()
			select {
			case <-out.came:
			case <-time.After(patience):
				t.Fatal("timed out")
			}
			cancel()
			select {
			case status := <-ended:
				if status != statusOK || errs.String() != "" || strings.Count(out.all.String(), "\n") != 2 {
					t.Errorf("status %d, printed\n%s%s", status, out.all.String(), errs)
				}
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			if args != nil {
				if _, out, _ := run("group", "describe", "mailers", "-json"); !strings.Contains(out, `"committed_offset":2`) {
					t.Errorf("afterwards the group is %s", out)
				}
			}
		})
	}
}

// What waits to be read from a terminal does not keep a producer from ending.
func TestProduceIsInterrupted(t *testing.T) {
	t.Setenv(dataVariable, t.TempDir())
	if status, _, errs := run("topic", "create", "orders"); status != statusOK {
		t.Fatal(errs)
	}
	in, keys := io.Pipe()
	defer keys.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs strings.Builder
	ended := make(chan int, 1)
	go func() { ended <- (&cli{in: in}).run(ctx, []string{"topic", "produce", "orders"}, &out, &errs) }()
	if _, err := keys.Write([]byte("a\n")); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case status := <-ended:
		if status != statusOK || !strings.Contains(out.String(), "to topic orders") || errs.String() != "" {
			t.Errorf("status %d, printed %s%s", status, out.String(), errs.String())
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

// Members are there only where the directory is held: within the process.
func TestGroupWithMembers(t *testing.T) {
	ctx := t.Context()
	sys := actor.NewSystem(storagefake.New())
	defer sys.Close(ctx)
	fill(ctx, t, sys, "a=1")
	done := make(chan struct{})
	c, err := sys.NewConsumer(ctx, actor.ConsumerOptions{Group: "mailers", Topics: []string{"orders"}, Client: "a test"},
		func(context.Context, *actor.Delivery) error { close(done); return nil })
	if err != nil {
		t.Fatal(err)
	}
	<-done
	if err := c.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	carry := func(name string, asJSON bool, options ...string) (string, error) {
		var out strings.Builder
		v, _ := find(strings.Fields(name))
		f := newFlags(v)
		act := v.define(f)
		if _, err := parse(f, options); err != nil {
			t.Fatal(err)
		}
		err := act(ctx, &session{verb: v, sys: sys, args: []string{"mailers"}, json: asJSON, out: &out, errs: io.Discard})
		return out.String(), err
	}
	out, err := carry("group describe", false)
	if err != nil || !regexp.MustCompile(`(?m)^orders +0 +1 +1 +0 +0\.000 +0 +`+c.ID()+`$`).MatchString(out) || !regexp.MustCompile(`(?m)^`+c.ID()+` +- +a test +1 +0 +20`).MatchString(out) {
		t.Errorf("printed %v\n%s", err, out)
	}
	out, err = carry("group describe", true)
	var v groupDetailJSON
	if err = errors.Join(err, json.Unmarshal([]byte(out), &v)); err != nil || v.State != "stable" || len(v.MemberList) != 1 || v.MemberList[0].ID != c.ID() || v.MemberList[0].Partitions != 1 {
		t.Errorf("printed %v\n%s", err, out)
	}
	if _, err = carry("group reset", false, "-to", "earliest"); !errors.Is(err, actor.ErrGroupActive) || !strings.Contains(err.Error(), c.ID()) {
		t.Errorf("a reset: %v", err)
	}
	if out, err = carry("group rewind", false, "-to", "latest"); err != nil || !strings.Contains(out, "passed over: 0 records") {
		t.Errorf("a rewind: %v\n%s", err, out)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestPlace(t *testing.T) {
	for text, ok := range map[string]bool{"earliest": true, "latest": true, "0": true, "18446744073709551615": true, "2026-11-22T08:00:00Z": true,
		"2026-11-22T08:00:00.5+01:00": true, "90m": true, "-5": true, "+5": true,
		"": false, "newest": false, "-90m": false, "+90m": false, "5.5": false, "18446744073709551616": false, "2026-11-22": false, "--5": false, "0s": false} {
		if err := new(place).Set(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("+5")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		var p place
		if err := p.Set(text); err == nil && p.String() != text {
			t.Errorf("%q became %q", text, p.String())
		}
	})
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", "a\tb": "a\tb", "a\nb": `"a\nb"`, "\xff": `"\xff"`, "süß": "süß", "": ""} {
		if got := text([]byte(in)); got != want {
			t.Errorf("%q is shown as %s, want %s", in, got, want)
		}
	}
	if s, b := stringOf([]byte{0xff}); s != nil || len(b) != 1 {
		t.Error("bytes that are no text")
	}
	if s, b := stringOf([]byte{}); s == nil || *s != "" || b != nil {
		t.Error("an empty value")
	}
}

func TestTypedHeaders(t *testing.T) {
	for in, want := range map[string]string{"a=b": "a=b", "a=": "a=", "a=b=c": "a=b=c", "n:int=-3": "n:int=-3", "f:float=2.50": "f:float=2.5", "b:bool=1": "b:bool=true",
		"v:void=": "v:void=", "a:b=c": "a:b=c", "t:text=3": "t=3", "x:y:int=3": "x:y:int=3", ":int=3": ":int=3", "l=a\nb": `l="a\nb"`} {
		var h typedHeaders
		if err := h.Set(in); err != nil || typedText(typedOf(h)) != want {
			t.Errorf("%q is %q, %v; want %q", in, typedText(typedOf(h)), err, want)
		}
	}
	for _, in := range []string{"", "a", "=b", "n:int=", "n:int=2.5", "b:bool=perhaps", "v:void=3", "f:float=much"} {
		if err := new(typedHeaders).Set(in); err == nil {
			t.Errorf("%q is taken", in)
		}
	}
}
