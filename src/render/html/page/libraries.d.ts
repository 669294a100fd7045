declare module '*.css';

declare module 'd3-selection' {
  export interface Selection {
    datum(data: unknown): Selection;
    call(chart: (selection: Selection) => unknown): Selection;
  }
  export function select(element: Element): Selection;
}

declare module 'd3-flame-graph' {
  /** A box as d3 laid it out. */
  export interface LaidOut<T> {
    id: number;
    data: T;
    depth: number;
    parent: LaidOut<T> | null;
    children?: LaidOut<T>[];
  }
  export interface FlameGraph<T> {
    (selection: import('d3-selection').Selection): unknown;
    width(pixels: number): FlameGraph<T>;
    cellHeight(pixels: number): FlameGraph<T>;
    minFrameSize(pixels: number): FlameGraph<T>;
    transitionDuration(ms: number): FlameGraph<T>;
    inverted(inverted: boolean): FlameGraph<T>;
    resetHeightOnZoom(reset: boolean): FlameGraph<T>;
    setLabelHandler(label: (box: LaidOut<T>) => string): FlameGraph<T>;
    setDetailsHandler(details: (text: string | null) => void): FlameGraph<T>;
    setColorMapper(color: (box: LaidOut<T>, before: string) => string): FlameGraph<T>;
    onClick(handler: (box: LaidOut<T>) => void): FlameGraph<T>;
    findById(id: number): LaidOut<T> | null;
    zoomTo(box: LaidOut<T>): void;
    destroy(): FlameGraph<T>;
  }
  export default function flamegraph<T>(): FlameGraph<T>;
}
