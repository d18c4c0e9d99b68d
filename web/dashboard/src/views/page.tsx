// Which view is shown.
import type { ComponentType } from "preact";
import type { View } from "../data/place";
import { useDesk } from "../ui/desk";
import { CapacityView } from "./capacity";
import { CompareView } from "./compare";
import { HeatView } from "./heat";
import { InterruptionsView } from "./interruptions";
import { LiveView } from "./live";
import { OverviewView } from "./overview";
import { ReplicasView } from "./replicas";
import { TurnView } from "./turn";
import { TurnsView } from "./turns";

const VIEWS: Record<View, ComponentType> = {
  overview: OverviewView,
  turns: TurnsView,
  live: LiveView,
  heat: HeatView,
  interruptions: InterruptionsView,
  replicas: ReplicasView,
  capacity: CapacityView,
  compare: CompareView,
};

export function Page() {
  const { place } = useDesk();
  if (place.turn !== null) return <TurnView key={place.turn} id={place.turn} />;
  const View = VIEWS[place.view];
  return <View key={place.view} />;
}
