package troupe_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fence is a fenced code block of a document.
type fence struct {
	line     int // of its first line of code, from 1
	language string
	code     string
}

// fences returns the code blocks of a Markdown document.
func fences(text string) []fence {
	var out []fence
	var open bool
	for i, line := range strings.Split(text, "\n") {
		language, marker := strings.CutPrefix(line, "```")
		switch {
		case marker && !open:
			out = append(out, fence{line: i + 2, language: strings.TrimSpace(language)})
			open = true
		case marker:
			open = false
		case open:
			out[len(out)-1].code += line + "\n"
		}
	}
	return out
}

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no README.md yet")
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadmePrograms compiles and runs every Go block of the README. Where a
// block marked "output" follows, the program must print exactly that.
func TestReadmePrograms(t *testing.T) {
	if runPrograms(t, fences(readme(t)), func(fence) bool { return true }) == 0 {
		t.Error("the README shows no Go program")
	}
}

// TestDocumentPrograms does so with the whole programs of the documents, which also
// show pieces.
func TestDocumentPrograms(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil || len(documents) == 0 {
		t.Fatalf("there are no documents: %v", err)
	}
	for _, path := range documents {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			runPrograms(t, fences(string(text)), func(b fence) bool { return strings.HasPrefix(b.code, "package main\n") })
		})
	}
}

// runPrograms runs those Go blocks that are meant, and returns how many they are.
func runPrograms(t *testing.T, blocks []fence, meant func(fence) bool) (programs int) {
	for i, b := range blocks {
		if b.language != "go" || !meant(b) {
			continue
		}
		programs++
		t.Run("line "+strconv.Itoa(b.line), func(t *testing.T) {
			got := runProgram(t, b.code)
			if i+1 < len(blocks) && blocks[i+1].language == "output" && got != blocks[i+1].code {
				t.Errorf("the program prints\n%s\nthe document says\n%s", got, blocks[i+1].code)
			}
		})
	}
	return programs
}

// runProgram compiles a program within this module and runs it in a directory
// of its own.
func runProgram(t *testing.T, code string) string {
	if !strings.HasPrefix(code, "package main\n") {
		t.Fatal("a go block must be a complete program, so that it can be run; begin it with package main, or mark it text")
	}
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("it does not compile: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("it fails: %v\n%s", err, stderr.String())
	}
	return stdout.String()
}

// TestReadmeOpening: the commands come first, a program soon after.
func TestReadmeOpening(t *testing.T) {
	blocks := fences(readme(t))
	if len(blocks) == 0 || !slices.Contains(strings.Split(blocks[0].code, "\n"), "go test ./...") {
		t.Error("the first code block should hold the line: go test ./...")
	}
	first := slices.IndexFunc(blocks, func(b fence) bool { return b.language == "go" })
	if first < 0 || blocks[first].line > 30 {
		t.Error("the first Go program should begin by line 30")
	}
}

func TestFences(t *testing.T) {
	const text = "# x\n```sh\ngo test ./...\n```\ntext\n```go\npackage main\n\nfunc main() {}\n```\n```output\nhi\n```\n"
	want := []fence{{3, "sh", "go test ./...\n"}, {7, "go", "package main\n\nfunc main() {}\n"}, {12, "output", "hi\n"}}
	if got := fences(text); !slices.Equal(got, want) {
		t.Errorf("fences %+v, want %+v", got, want)
	}
}
