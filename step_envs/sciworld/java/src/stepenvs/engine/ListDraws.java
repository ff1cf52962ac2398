package stepenvs.engine;

import scienceworld.runtime.AgentInterface;
import scienceworld.struct.EnvObject;

/**
 * Draws the random numbers that listing the valid actions draws, without the list.
 *
 * <p>The stock library lists the valid actions after every step. Listing draws from the generator that also moves the
 * bees, so whoever wants the same episode must draw as much, also where nobody asks for the list. That was nine tenths of
 * a step. What draws is the choice of names ({@link UniqueNames}), once for the objects in view and once for all objects;
 * the pairs of objects that make the list long draw nothing.
 */
final class ListDraws {
    private ListDraws() {}

    static void draw(AgentInterface world) {
        if (world.inputParser().isInAmbiguousState()) {
            return; // the list is the numbers of a question then, and draws nothing
        }
        if (world.agent().getContainer().isEmpty()) {
            world.getValidActionObjectCombinations(); // an agent that is nowhere sees an object made up for the purpose
            return;
        }
        EnvObject room = world.agent().getContainer().get();
        EnvObject[] visible = ObjectTree.collect(room, false);
        EnvObject[] all = ObjectTree.collect(world.universe(), true);
        ObjectNames.newPass();
        UniqueNames.draw(ObjectNames.of(visible, room));
        UniqueNames.draw(ObjectNames.of(all, room));
    }
}
