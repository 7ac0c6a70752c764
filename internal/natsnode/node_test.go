package natsnode

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

const childDir = "TROUPE_TEST_HOLD"

// TestMain may be a child process that holds a directory until its standard
// input ends.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		holdDir(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

func holdDir(dir string) {
	n, err := Open(dir, Options{})
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		return
	}
	defer n.Close()
	os.Stdout.WriteString("held\n")
	os.Stdin.Read(make([]byte, 1))
}

func newDir(t *testing.T) string { return filepath.Join(t.TempDir(), "data") }

func open(t *testing.T, dir string) *Node {
	t.Helper()
	n, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func TestServersListenNowhere(t *testing.T) {
	n := open(t, newDir(t))
	for _, start := range []func() (*Server, error){n.Fsync, n.Interval, n.Fsync} {
		s, err := start()
		if err != nil {
			t.Fatal(err)
		}
		if a := s.run.Addr(); a != nil {
			t.Errorf("it listens at %s", a)
		}
		if !s.run.JetStreamEnabled() {
			t.Error("it keeps no streams")
		}
		c, err := s.InProcessConn()
		if err != nil {
			t.Fatal(err)
		}
		hello := make([]byte, 5)
		if _, err := c.Read(hello); err != nil || string(hello) != "INFO " {
			t.Errorf("the server said %q, %v", hello, err)
		}
		c.Close()
	}
	if a, _ := n.Fsync(); !a.serverOptions().SyncAlways {
		t.Error("the fsync server does not sync")
	}
}

func TestIntervalServerStartsLate(t *testing.T) {
	dir := newDir(t)
	n := open(t, dir)
	if _, err := n.Fsync(); err != nil {
		t.Fatal(err)
	}
	if n.HasInterval() {
		t.Error("an interval server before anybody asked")
	}
	if _, err := n.Interval(); err != nil {
		t.Fatal(err)
	}
	if !n.HasInterval() {
		t.Error("the interval server left no trace")
	}
}

func TestCloseEndsEverything(t *testing.T) {
	n := open(t, newDir(t))
	s, err := n.Fsync()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.InProcessConn(); !errors.Is(err, ErrClosed) {
		t.Errorf("connect: %v", err)
	}
	if err := s.Restart(); !errors.Is(err, ErrClosed) {
		t.Errorf("restart: %v", err)
	}
	if _, err := n.Fsync(); !errors.Is(err, ErrClosed) {
		t.Errorf("start: %v", err)
	}
}

func TestDirectoryIsForItsOwner(t *testing.T) {
	n := open(t, newDir(t))
	info, err := os.Stat(n.Dir())
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	b, err := os.ReadFile(filepath.Join(n.Dir(), markerName))
	if err != nil || string(b) != "{\"format\":1}\n" {
		t.Errorf("the marker is %q, %v", b, err)
	}
}

// oneSentence requires an error that names what it should, in one line.
func oneSentence(t *testing.T, err, want error, parts ...string) {
	t.Helper()
	if !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("err = %v", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func TestSecondOpenInOneProcess(t *testing.T) {
	n := open(t, newDir(t))
	_, err := Open(n.Dir(), Options{})
	oneSentence(t, err, ErrLocked, n.Dir(), "choose another directory")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, n.Dir())
}

func TestSecondProcessIsTurnedAway(t *testing.T) {
	dir := newDir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), exe)
	child.Env = append(os.Environ(), childDir+"="+dir)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, Options{})
	oneSentence(t, err, ErrLocked, dir, "process "+strconv.Itoa(child.Process.Pid), "stop that process")
	if err := child.Process.Kill(); err != nil { // a crash leaves nothing locked
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	stdin.Close()
	open(t, dir)
}

func TestNewerFormatIsRefused(t *testing.T) {
	dir := newDir(t)
	n := open(t, dir)
	n.Close()
	write := func(s string) {
		if err := os.WriteFile(filepath.Join(dir, markerName), []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"format":7}`)
	_, err := Open(dir, Options{})
	oneSentence(t, err, ErrFormat, dir, "format 7", "up to 1")
	for _, s := range []string{"", "{}", `{"format":0}`, "format 1"} {
		write(s)
		if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), markerName) {
			t.Errorf("marker %q: %v", s, err)
		}
	}
	write(`{"format":1}`)
	open(t, dir) // the failures left nothing locked
}

// Parents that are missing are made, for the owner only; what is there stays as it is.
func TestParentsAreMade(t *testing.T) {
	base := t.TempDir()
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, "a", "b", "data")
	open(t, dir)
	for path, want := range map[string]fs.FileMode{base: 0o755, filepath.Join(base, "a"): 0o700, filepath.Dir(dir): 0o700, dir: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", path, info, err, want)
		}
	}
	_, err := Open(dir, Options{})
	oneSentence(t, err, ErrLocked, dir)
}

func TestDirectoriesThatCannotBeUsed(t *testing.T) {
	base := t.TempDir()
	file := filepath.Join(base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(file, "data"), Options{})
	oneSentence(t, err, syscall.ENOTDIR, filepath.Join(file, "data"), "name a place where one can be made")
	if _, err = Open(file, Options{}); err == nil || !strings.Contains(err.Error(), "it is not a directory") {
		t.Errorf("a file: %v", err)
	}
	locked := filepath.Join(base, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Create(filepath.Join(locked, "probe")); err == nil {
		f.Close()
		t.Skip("this user may write everywhere")
	}
	_, err = Open(locked, Options{})
	oneSentence(t, err, fs.ErrPermission, locked)
}

func TestLoggerPassesOnWhatMatters(t *testing.T) {
	var out bytes.Buffer
	l := newLogger(slog.New(slog.NewTextHandler(&out, nil)))
	l.Warnf("Maximum payloads over %s are discouraged", "8 MB")
	l.Warnf("Missing stream metafile")
	l.Noticef("listening")
	l.started()
	l.Warnf("slow %s", "disk")
	l.Errorf("stream %q is odd", "a")
	if s := out.String(); strings.Contains(s, "discouraged") || strings.Contains(s, "listening") || !strings.Contains(s, "metafile") ||
		!strings.Contains(s, "slow disk") || !strings.Contains(s, "is odd") {
		t.Errorf("the log says %q", s)
	}
	if l.isBroken() || l.firstError().Error() != `stream "a" is odd` {
		t.Errorf("broken %v, %v", l.isBroken(), l.firstError())
	}
	l.Errorf("JetStream stream 'G > a' critical write error: no space left on device")
	l.Errorf("JetStream out of file resources, will be DISABLED")
	if !l.isBroken() {
		t.Error("a write error went unnoticed")
	}
}

func TestRestartOnlyWhenBroken(t *testing.T) {
	n, err := Open(newDir(t), Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s, err := n.Fsync()
	if err != nil {
		t.Fatal(err)
	}
	first := s.run
	if err := s.Restart(); err != nil || s.run != first {
		t.Errorf("a sound server was restarted, %v", err)
	}
	first.log.Errorf("Critical write error: disk on fire")
	<-s.Broken()
	if err := s.Restart(); err != nil || s.run == first {
		t.Fatalf("a broken server was not restarted, %v", err)
	}
	select {
	case <-s.Broken():
		t.Error("the new instance is broken")
	default:
	}
	if free, err := s.Free(); err != nil || free == 0 {
		t.Errorf("free = %d, %v", free, err)
	}
}
