#!/usr/bin/env bash
# Opens pages in headless Chromium as a phone and as a desk sees them, by day and at night, and fails where a script
# throws, anything is requested, or the page is wider than its window:
#   scripts/check_pages.sh OUT_DIR PAGE.html...
# Screenshots of all of them are left in OUT_DIR. Without Chromium it says so and does nothing.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 OUT_DIR PAGE.html..." >&2
  exit 2
fi
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
browser=$(command -v chromium || command -v chromium-browser || true)
if [ -z "$browser" ]; then
  echo "no Chromium here (Debian: chromium): pages are not opened"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A window has a least width, a frame has none: the page is opened in one, and tells it what it is like.
head_probe='<script>window.faults=[];addEventListener("error",(e)=>faults.push(e.message));
addEventListener("unhandledrejection",(e)=>faults.push(String(e.reason)));
addEventListener("securitypolicyviolation",(e)=>faults.push(e.violatedDirective+" "+e.blockedURI));</script>'
foot_probe='<script>addEventListener("load",()=>setTimeout(()=>{
const root=document.documentElement,wide=[...document.body.querySelectorAll("*")].filter((e)=>
!e.closest(".scroll")&&e.getBoundingClientRect().right>root.clientWidth+1).map((e)=>e.tagName+"."+e.className);
parent.postMessage({width:root.clientWidth,content:root.scrollWidth,height:root.scrollHeight,
night:matchMedia("(prefers-color-scheme: dark)").matches,requests:performance.getEntriesByType("resource").length,
charts:[...document.querySelectorAll("canvas")].filter((c)=>c.width>0).length,
canvases:document.querySelectorAll("canvas").length,faults:faults.concat(wide)},"*");},200));</script>'

printf '%s\n' "$head_probe" > "$work/head"

# run WIDTH HEIGHT SCHEME ARGUMENTS...: Chromium on the frame, which says on its <pre> what the page told.
run() {
  local width=$1 height=$2 scheme=$3
  shift 3
  local dark=1
  if [ "$scheme" = dark ]; then dark=0; fi
  cat > "$work/frame.html" <<FRAME
<!DOCTYPE html><html style="color-scheme: light dark"><body style="margin:0"><iframe src="page.html" width="$width"
height="$height" style="border:0;display:block;color-scheme: light dark"></iframe><pre hidden></pre><script>
addEventListener("message",(e)=>{document.querySelector("pre").textContent=Object.entries(e.data).map(([k,v])=>
k+"="+(Array.isArray(v)?v.join("; "):v)).join("\n");});</script></body></html>
FRAME
  timeout 120 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
    --disable-background-networking --disable-component-update --user-data-dir="$work/profile" \
    --blink-settings=preferredColorScheme=$dark --window-size="$((width < 500 ? 500 : width)),$height" \
    --virtual-time-budget=5000 "$@" "file://$work/frame.html" 2>/dev/null
}
told() { sed -n '/<pre hidden/,/<\/pre>/p' "$work/dom" | sed 's/.*<pre hidden[^>]*>//; s/<\/pre>.*//' | sed -n "s/^$1=//p"; }

failed=0
for page in "$@"; do
  name=$(basename "$page" .html)
  { sed "/^<head>\$/r $work/head" "$page" | sed '/^<\/html>$/d'; echo "$foot_probe</html>"; } > "$work/page.html"
  for width in 400 1400; do
    for scheme in light dark; do
      shot="$name-$width-$scheme"
      run "$width" 1000 "$scheme" --dump-dom > "$work/dom" || true
      problem=""
      if [ -z "$(told width)" ]; then
        problem="the page did not load"
      else
        if [ "$(told width)" -ne "$width" ]; then problem+="is $(told width) pixels wide, "; fi
        if [ "$(told content)" -gt "$width" ]; then problem+="its content is $(told content) pixels wide, "; fi
        if [ "$(told requests)" -ne 0 ]; then problem+="$(told requests) requests, "; fi
        if [ "$(told charts)" != "$(told canvases)" ]; then problem+="$(told charts) of $(told canvases) charts drawn, "; fi
        if [ "$(told night)" != "$([ $scheme = dark ] && echo true || echo false)" ]; then problem+="not $scheme, "; fi
        if [ -n "$(told faults)" ]; then problem+="$(told faults)"; fi
      fi
      height=$(told height)
      run "$width" "$((${height:-1000} < 16000 ? ${height:-1000} : 16000))" "$scheme" --screenshot="$out/$shot.png" > /dev/null || true
      echo "$shot: ${problem:-good}"
      if [ -n "$problem" ]; then failed=1; fi
    done
  done
done
exit $failed
