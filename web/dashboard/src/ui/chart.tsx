// A chart: drawn by ECharts on a canvas, with a period to be dragged over and a name for those who cannot see it.
import type { EChartsType } from "echarts/core";
import { useEffect, useRef, useState } from "preact/hooks";
import { colours, type Colours } from "./colours";
import { useDesk } from "./desk";

export type Option = Parameters<EChartsType["setOption"]>[0];

export function Chart(props: {
  label: string;
  height: number;
  option: (colours: Colours, width: number) => Option;
  /** Changes with what the option shows. */
  of: unknown;
  /** Positions on the category axis that were dragged over, or clicked on twice the same. */
  onDrag?: (from: number, to: number) => void;
  onPick?: (dataIndex: number) => void;
}) {
  const { scheme } = useDesk();
  const frame = useRef<HTMLDivElement>(null);
  const chart = useRef<EChartsType | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const [ready, setReady] = useState(false);
  const [width, setWidth] = useState(0);
  const [failed, setFailed] = useState(false);

  useEffect(() => {
    let gone = false;
    const element = frame.current!;
    const sized = new ResizeObserver(() => {
      chart.current?.resize();
      setWidth(Math.round(element.clientWidth));
    });
    import("./echarts").then(
      ({ init }) => {
        if (gone) return;
        const made = init(element, null, { renderer: "canvas" });
        chart.current = made;
        made.on("click", (event) => latest.current.onPick?.(event.dataIndex));
        sized.observe(element);
        setReady(true);
      },
      () => setFailed(true),
    );
    return () => {
      gone = true;
      sized.disconnect();
      chart.current?.dispose();
      chart.current = null;
    };
  }, []);

  useEffect(() => {
    if (ready && width) chart.current?.setOption({ animation: false, ...props.option(colours(), width) }, { notMerge: true });
  }, [ready, width, scheme, props.of]);

  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);
  const draggable = props.onDrag !== undefined;
  const at = (event: PointerEvent) => event.clientX - frame.current!.getBoundingClientRect().left;
  const index = (x: number): number => Math.round((chart.current!.convertFromPixel({ gridIndex: 0 }, [x, 0]) as number[])[0]!);
  const onUp = () => {
    if (drag && Math.abs(drag.to - drag.from) > 8) {
      const [from, to] = [index(drag.from), index(drag.to)].sort((a, b) => a - b) as [number, number];
      props.onDrag?.(from, to);
    }
    setDrag(null);
  };

  return (
    <div class="chart" style={{ height: `${props.height}px` }}>
      <div
        {...{ ref: frame, class: "canvas", role: "img", "aria-label": props.label }}
        onPointerDown={(event) => {
          if (!draggable || !ready || event.button || event.pointerType === "touch") return;
          event.currentTarget.setPointerCapture(event.pointerId);
          setDrag({ from: at(event), to: at(event) });
        }}
        onPointerMove={(event) => drag && setDrag({ ...drag, to: at(event) })}
        onPointerUp={onUp}
        onPointerCancel={() => setDrag(null)}
      />
      {drag && (
        <div class="drag" style={{ left: `${Math.min(drag.from, drag.to)}px`, width: `${Math.abs(drag.to - drag.from)}px` }} />
      )}
      {failed && <p class="note">The chart could not be loaded. Its figures are in the table below.</p>}
    </div>
  );
}
