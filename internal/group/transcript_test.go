package group

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// The files in testdata are conversations with a group: commands, a line of
// dashes, and what comes of them. Members answer with the epochs that they were
// told last, unless the command says otherwise (orders/0@7). After each command
// the group is restored from its journal and compared.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := &conversation{t: t, told: map[string]uint64{}}
			got := c.play(string(b))
			if *rewrite {
				err = os.WriteFile(file, []byte(got), 0o644)
			}
			if err != nil || got != string(b) {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

type conversation struct {
	t       *testing.T
	config  Config
	g       *Group
	now     int64
	journal [][]byte
	told    map[string]uint64 // "member" and "member orders/0": epochs
	out     strings.Builder
}

// play returns the transcript with the answers as they are.
func (c *conversation) play(text string) string {
	var all strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		commands, _, _ := strings.Cut(block, "\n----")
		c.out.Reset()
		for line := range strings.SplitSeq(commands, "\n") {
			if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(line, "#") {
				c.run(words)
			}
		}
		fmt.Fprintf(&all, "%s\n----\n%s\n", commands, c.out.String())
	}
	return strings.TrimSuffix(all.String(), "\n")
}

func (c *conversation) say(format string, args ...any) {
	fmt.Fprintf(&c.out, format+"\n", args...)
}

func (c *conversation) run(words []string) {
	options := map[string]string{}
	var plain []string
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok && !strings.Contains(k, "/") {
			options[k] = v
		} else {
			plain = append(plain, w)
		}
	}
	if c.g == nil && words[0] != "config" {
		c.start()
	}
	switch words[0] {
	case "config":
		c.configure(options)
	case "after":
		d, err := time.ParseDuration(plain[0])
		if err != nil {
			c.t.Fatal(err)
		}
		c.now += d.Milliseconds()
	case "beating":
		c.beating(plain[0], plain[1:], options)
	case "restart":
		c.restart()
		c.apply(Recover{})
	case "describe":
		c.describe()
	case "deadline":
		if at, ok := c.g.Deadline(); ok {
			c.say("in %v", time.Duration(at-c.now)*time.Millisecond)
		} else {
			c.say("never")
		}
	default:
		c.apply(c.command(words[0], plain, options))
	}
}

// beating lets members send a heartbeat every 20 s for a while.
func (c *conversation) beating(during string, members []string, options map[string]string) {
	d, err := time.ParseDuration(during)
	if err != nil {
		c.t.Fatal(err)
	}
	for end := c.now + d.Milliseconds(); c.now < end; {
		c.now += 20_000
		for _, m := range members {
			c.apply(c.command("beat", []string{m}, options))
		}
		c.apply(Tick{})
	}
}

func (c *conversation) configure(options map[string]string) {
	for k, v := range options {
		switch k {
		case "assignor":
			c.config.Assignor, _ = ParseAssignor(v)
		case "evict":
			c.config.EvictStuck = v == "true"
		case "retention":
			c.config.OffsetsRetention, _ = time.ParseDuration(v)
		case "parkedperkey":
			c.config.Limits.ParkedPerKey = c.number(v)
		case "parkedkeys":
			c.config.Limits.ParkedKeys = c.number(v)
		case "parkedbytes":
			c.config.Limits.ParkedBytes = int64(c.number(v))
		case "members":
			c.config.Limits.Members = c.number(v)
		default:
			c.t.Fatalf("no option %s", k)
		}
	}
}

func (c *conversation) start() {
	g, err := New(c.config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.g, c.now = g, 1_000_000
}

func (c *conversation) number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil && s != "" {
		c.t.Fatal(err)
	}
	return n
}

// claim reads orders/0 or orders/0@7, the former with the epoch the member was told.
func (c *conversation) claim(member, s string) Claim {
	s, at, explicit := strings.Cut(s, "@")
	name, index, _ := strings.Cut(s, "/")
	claim := Claim{Topic: name, Partition: c.number(index), Epoch: c.told[member+" "+s]}
	if explicit {
		claim.Epoch = uint64(c.number(at))
	}
	return claim
}

func (c *conversation) positions(words []string) (out []Position) {
	for _, w := range words {
		w, next, _ := strings.Cut(w, "=")
		claim := c.claim("", w)
		out = append(out, Position{claim.Topic, claim.Partition, uint64(c.number(next)), ""})
	}
	return out
}

func (c *conversation) command(verb string, words []string, options map[string]string) Command {
	who := ""
	if len(words) > 0 {
		who = words[0]
	}
	epoch := c.told[who]
	if e, ok := options["epoch"]; ok {
		epoch = uint64(c.number(e))
	}
	offset := uint64(c.number(options["offset"]))
	record := ParkedRecord{Offset: offset, Parking: uint64(c.number(options["body"])), Bytes: c.number(options["bytes"])}
	switch verb {
	case "join":
		session, _ := time.ParseDuration(options["session"])
		assignor, _ := ParseAssignor(options["assignor"])
		return Join{who, options["instance"], options["client"], c.topics(words[1:]), session, assignor}
	case "leave":
		return Leave{who, epoch, slices.Contains(words, "final")}
	case "beat":
		return Heartbeat{who, epoch, uint64(c.number(options["progress"])), c.number(options["inflight"])}
	case "release":
		r := Release{Member: who}
		for _, w := range words[1:] {
			r.Partitions = append(r.Partitions, c.claim(who, w))
		}
		return r
	case "evict":
		return Evict{who, "asked for"}
	case "tick":
		return Tick{}
	case "resize":
		return Resize{c.topics(words)}
	case "forget":
		return Forget{who, slices.Contains(words, "force")}
	case "commit":
		r := Commit{Member: who}
		for _, w := range words[1:] {
			w, next, _ := strings.Cut(w, "=")
			r.Offsets = append(r.Offsets, Offset{c.claim(who, w), uint64(c.number(next)), options["metadata"]})
		}
		return r
	case "reset":
		return Reset{c.positions(words)}
	case "rewind":
		return Rewind{c.positions(words)}
	case "park":
		claim, key := c.key(who, words[1], options)
		return Park{who, claim.Epoch, key, record, c.number(options["attempt"]), "failed", options["error"]}
	case "hold":
		claim, key := c.key(who, words[1], options)
		return Hold{who, claim.Epoch, key, record, false}
	case "resolve":
		claim, key := c.key(who, words[1], options)
		return Resolve{who, claim.Epoch, key, offset}
	case "free":
		_, key := c.key("", words[0], options)
		return ReleaseKey{key}
	case "skip":
		_, key := c.key("", words[0], options)
		return Skip{key, offset, false}
	case "edit":
		_, key := c.key("", words[0], options)
		return Edit{key, offset, record.Parking, record.Bytes, false}
	}
	c.t.Fatalf("no command %s", verb)
	return nil
}

func (c *conversation) key(who, at string, options map[string]string) (Claim, KeyRef) {
	claim := c.claim(who, at)
	key, keyed := options["key"]
	ref := KeyRef{Topic: claim.Topic, Partition: claim.Partition, Key: key, Keyless: !keyed}
	if !keyed {
		ref.Offset = uint64(c.number(options["offset"]))
	}
	return claim, ref
}

func (c *conversation) topics(words []string) (out []Topic) {
	for _, w := range words {
		name, n, _ := strings.Cut(w, ":")
		n, incarnation, said := strings.Cut(n, "@")
		t := Topic{Name: name, Partitions: c.number(n)}
		if said {
			t.Incarnation = uint64(c.number(incarnation))
		}
		out = append(out, t)
	}
	return out
}

func (c *conversation) apply(command Command) {
	events, effects, err := c.g.Apply(c.now, command)
	if len(events) > 0 {
		c.journal = append(c.journal, Seal(events))
	}
	for _, e := range effects {
		c.effect(e)
	}
	if err != nil {
		c.say("error: %v", err)
	}
	g := c.g
	c.restart()
	saved, err := Restore(c.config, g.Snapshot())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, again := range []*Group{c.g, saved} {
		if string(g.Snapshot()) != string(again.Snapshot()) || g.size != again.size || g.parked != again.parked {
			c.t.Fatalf("something else is restored after %+v", command)
		}
	}
	c.g = g
}

// restart restores the group from its journal.
func (c *conversation) restart() {
	g, err := New(c.config)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, entry := range c.journal {
		if err := g.Replay(entry); err != nil {
			c.t.Fatal(err)
		}
	}
	c.g = g
}

func (c *conversation) effect(e Effect) {
	text := ""
	switch e := e.(type) {
	case Welcome:
		c.told[e.Member] = e.Epoch
		text = fmt.Sprintf("welcome, epoch %d, generation %d, %v", e.Epoch, e.Generation, e.Assignor)
	case Assigned:
		text = fmt.Sprintf("assigned by generation %d:%s", e.Generation, c.assignments(e.Member, e.Partitions))
	case Seek:
		text = "seek:" + c.assignments(e.Member, e.Partitions)
	case Revoke:
		text = fmt.Sprintf("revoke by generation %d:%s", e.Generation, listClaims(e.Partitions))
	case Lost:
		text = "lost:" + listClaims(e.Partitions)
	case Fenced:
		text = "fenced: " + e.Reason
	case KeyChanged:
		text = fmt.Sprintf("key changed, epoch %d: %s", e.Epoch, showKey(e.Key))
	case Stuck:
		text = fmt.Sprintf("stuck for %v with %d in flight, evicted %v", time.Duration(c.now-e.Since)*time.Millisecond, e.InFlight, e.Evicted)
	}
	c.say("%s <- %s", e.To(), text)
}

func (c *conversation) assignments(member string, list []Assignment) (text string) {
	for _, a := range list {
		name := fmt.Sprintf("%s/%d", a.Topic, a.Partition)
		c.told[member+" "+name] = a.Epoch
		text += fmt.Sprintf(" %s@%d", name, a.Epoch)
		if a.Committed {
			text += fmt.Sprintf("=%d", a.Next)
		}
		for _, k := range a.Parked {
			text += " [" + showKey(k) + "]"
		}
	}
	return text
}

func listClaims(list []Claim) (text string) {
	for _, c := range list {
		text += fmt.Sprintf(" %s/%d@%d", c.Topic, c.Partition, c.Epoch)
	}
	return text
}

func showKey(k ParkedKey) string {
	state := "parked"
	switch {
	case len(k.Records) == 0:
		state = "free"
	case k.Releasing:
		state = "releasing"
	}
	text := fmt.Sprintf("%s/%d %q %s", k.Topic, k.Partition, k.Key, state)
	if k.Keyless {
		text = fmt.Sprintf("%s/%d record %d %s", k.Topic, k.Partition, k.Offset, state)
	}
	for _, r := range k.Records {
		text += fmt.Sprintf(" %d(body %d)", r.Offset, r.Parking)
		if r.Edited {
			text += "edited"
		}
	}
	if k.Attempts > 0 {
		text += fmt.Sprintf(" after %d attempts: %s: %s", k.Attempts, k.Reason, k.Error)
	}
	return text
}

func (c *conversation) describe() {
	d := c.g.Describe()
	c.say("%s, generation %d, %v", d.State, d.Generation, d.Assignor)
	for _, m := range d.Members {
		text := fmt.Sprintf("%s%v owns %d", m.ID, m.Topics, m.Owned)
		if m.Instance != "" {
			text += ", instance " + m.Instance
		}
		if m.Absent {
			text += ", absent"
		}
		if m.Stuck {
			text += ", stuck"
		}
		c.say("  %s", text)
	}
	for _, p := range d.Partitions {
		text := fmt.Sprintf("%s/%d", p.Topic, p.Partition)
		if p.Owner != "" {
			text += fmt.Sprintf(" %s@%d", p.Owner, p.Epoch)
		}
		if p.Target != p.Owner {
			text += " -> " + p.Target
		}
		if p.Committed {
			text += fmt.Sprintf(" committed %d%s", p.Next, p.Metadata)
		}
		if p.Parked > 0 {
			text += fmt.Sprintf(" parked %d", p.Parked)
		}
		c.say("  %s", text)
	}
}
