package runtime

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// show prints the job's status until the returned function is called: on what
// the option Status named, else on standard error if that is a terminal.
func (j *Job) show() (stop func()) {
	w, live := j.config.status, true
	if !j.config.statusForced {
		w = os.Stderr
		live = term.IsTerminal(int(os.Stderr.Fd()))
	}
	if w == nil || !live {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		j.showOn(w, done)
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (j *Job) showOn(w io.Writer, done <-chan struct{}) {
	t := time.NewTicker(j.config.statusEvery)
	defer t.Stop()
	before, at := int64(0), time.Now()
	for {
		select {
		case <-t.C:
			s := j.Status()
			now, in := time.Now(), s.recordsIn()
			// Back to the start of the line, and clear it: the status stays in place.
			fmt.Fprintf(w, "\r\x1b[K%s", cut(s.line(float64(in-before)/now.Sub(at).Seconds()), columns(w)))
			before, at = in, now
		case <-done:
			fmt.Fprint(w, "\r\x1b[K")
			return
		}
	}
}

// columns is how wide w is; 0 if that is not known.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// cut shortens a line that would wrap: of one that does, only the last part is
// cleared, and the rest would stay on the screen.
func cut(line string, columns int) string {
	if r := []rune(line); columns > 0 && len(r) > columns {
		return string(r[:columns-1]) + "…"
	}
	return line
}

// recordsIn is how many records sources have read.
func (s *Status) recordsIn() (n int64) {
	for _, o := range s.Operators {
		if o.Kind == "source" {
			n += o.Out
		}
	}
	return n
}

// line is the status in one line.
func (s *Status) line(rate float64) string {
	parts := []string{s.Job, string(s.State), fmt.Sprintf("%s records/s", count(int64(rate)))}
	if lag := s.lag(); lag >= 0 {
		parts = append(parts, "lag "+count(lag))
	}
	if w := s.watermark(); w != "" {
		parts = append(parts, "watermark "+w)
	}
	if c := s.Checkpoint; c != nil {
		parts = append(parts, fmt.Sprintf("checkpoint %d, %s ago", c.Number, time.Since(c.Time).Round(time.Second)))
	}
	if s.Failure != nil && s.State == Waiting {
		parts = append(parts, "failed: "+strings.SplitN(s.Failure.Error(), "\n", 2)[0])
	}
	return strings.Join(parts, " · ")
}

// lag is how many records wait in front of all sources; -1 if one of them does
// not know.
func (s *Status) lag() int64 {
	sum, known := int64(0), false
	for _, o := range s.Operators {
		if o.Kind != "source" {
			continue
		}
		if o.Lag < 0 {
			return -1
		}
		sum, known = sum+o.Lag, true
	}
	if !known {
		return -1
	}
	return sum
}

// watermark is the lowest watermark that any operator knows, or the end when all
// have reached it.
func (s *Status) watermark() string {
	low, ended := time.Time{}, len(s.Operators) > 0
	for _, o := range s.Operators {
		ended = ended && o.Ended
		if !o.Watermark.IsZero() && (low.IsZero() || o.Watermark.Before(low)) {
			low = o.Watermark
		}
	}
	switch {
	case !low.IsZero():
		return low.UTC().Format("2006-01-02T15:04:05Z")
	case ended:
		return "at the end"
	default:
		return ""
	}
}

// count writes a number with commas.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
