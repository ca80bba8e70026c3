package debug

import (
	"bytes"
	_ "embed" // the page's template
	"encoding/json"
	"fmt"
	"html/template"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bridle-kv/bridle/pkg/pegasus"
)

// Handler serves the page, and the same as JSON to who asks for that: with "?format=json", or with an
// Accept header that prefers it to HTML. With "?refresh=N" the page loads itself anew every N seconds, 1 to
// 3600. Methods other than GET and HEAD are refused.
type Handler struct {
	client   *pegasus.Client
	recorder *Recorder
}

// NewHandler returns a Handler for the client, which may be closed or not. The recorder, whose hooks the
// client was opened with, may be nil: then there are no events.
func NewHandler(client *pegasus.Client, recorder *Recorder) *Handler {
	return &Handler{client: client, recorder: recorder}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "this page can only be read", http.StatusMethodNotAllowed)
		return
	}
	header.Set("Vary", "Accept")
	render, contentType := page, "text/html; charset=utf-8"
	if wantsJSON(r) {
		render, contentType = encode, "application/json"
	}
	var body bytes.Buffer // so that a failure can still be told as one
	if err := render(&body, NewView(h.client, h.recorder), refresh(r)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(body.Bytes()) // who reads it has gone away
}

// wantsJSON says which of the two forms is asked for.
func wantsJSON(r *http.Request) bool {
	if format := r.URL.Query().Get("format"); format != "" {
		return format == "json"
	}
	quality := func(want string) float64 {
		for _, part := range strings.Split(r.Header.Get("Accept"), ",") {
			kind, parameters, err := mime.ParseMediaType(part)
			if err != nil || kind != want {
				continue
			}
			if q, err := strconv.ParseFloat(parameters["q"], 64); err == nil {
				return q
			}
			return 1
		}
		return 0
	}
	return quality("application/json") > quality("text/html")
}

// refresh returns the seconds after which the page is to be loaded anew; 0 for never.
func refresh(r *http.Request) int {
	const most = 3600
	seconds, err := strconv.Atoi(r.URL.Query().Get("refresh"))
	if err != nil || seconds < 1 {
		return 0
	}
	return min(seconds, most)
}

func encode(body *bytes.Buffer, v *View, _ int) error {
	encoder := json.NewEncoder(body)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"ago": ago, "span": span, "short": short, "known": known, "clock": clock, "number": number, "errors": errorCounts, "limit": limit,
	"percent": percent, "decimal": decimal, "rate": rate,
}).Parse(pageSource))

func page(body *bytes.Buffer, v *View, refresh int) error {
	return pageTemplate.Execute(body, struct {
		*View
		Refresh int
	}{v, refresh})
}

// short is a duration with three digits, more or less.
func short(d time.Duration) string {
	const digits = 1000
	unit := time.Duration(1)
	for d/unit >= digits {
		unit *= 10
	}
	return d.Round(unit).String()
}

// known is a duration that may be unknown.
func known(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return short(d)
}

// span is the time between two moments in whole seconds.
func span(then, now time.Time) string { return now.Sub(then).Round(time.Second).String() }

// ago tells how long before now something was.
func ago(then, now time.Time) string {
	if now.Sub(then) < time.Second {
		return "just now"
	}
	return span(then, now) + " ago"
}

// percent is a quotient of counters in percent.
func percent(a, b uint64) string {
	if b == 0 {
		return ""
	}
	return decimal(100*float64(a)/float64(b)) + " %"
}

func decimal(value float64) string { return strconv.FormatFloat(value, 'f', 1, 64) }

// rateLine is what the page tells of the rate of a table's reads or writes.
type rateLine struct {
	pegasus.RateStats
	Requests string
	Now      time.Time
}

func rate(requests string, stats pegasus.RateStats, now time.Time) rateLine {
	return rateLine{stats, requests, now}
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// number is a count with its digits in groups of three.
func number(n any) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return digits
}

// errorCounts lists errors by kind, the most frequent first.
func errorCounts(counts map[pegasus.ErrorKind]uint64) string {
	kinds := make([]pegasus.ErrorKind, 0, len(counts))
	for kind := range counts {
		kinds = append(kinds, kind)
	}
	slices.SortFunc(kinds, func(a, b pegasus.ErrorKind) int {
		if counts[a] != counts[b] {
			return int(min(counts[b], 1<<30)) - int(min(counts[a], 1<<30))
		}
		return strings.Compare(string(a), string(b))
	})
	var text []string
	for _, kind := range kinds {
		text = append(text, fmt.Sprintf("%s %s", number(counts[kind]), kind))
	}
	return strings.Join(text, ", ")
}

// maxPartitions is the number of partitions of a table that the page shows. JSON has all.
const maxPartitions = 256

func limit(partitions []pegasus.PartitionSnapshot) []pegasus.PartitionSnapshot {
	return partitions[:min(len(partitions), maxPartitions)]
}
