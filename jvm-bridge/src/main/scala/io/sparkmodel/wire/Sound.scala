// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.wire

import org.apache.arrow.vector.{BaseLargeVariableWidthVector, BaseVariableWidthVector, FieldVector}
import org.apache.arrow.vector.complex.{LargeListVector, ListVector}
import org.apache.arrow.vector.validate.ValidateVectorBufferVisitor

/** Whether vectors that came from elsewhere hold together. */
private[sparkmodel] object Sound {

  /**
   * Check the lengths of a vector's buffers, and where they lead, at any depth.
   *
   * Arrow's own `validateFull` takes a map for a list of another type, and reads the decimals of what is NULL, which may
   * be anything.
   *
   * @throws RuntimeException
   *   they do not hold together
   */
  def check(vector: FieldVector): Unit = {
    vector.accept(new ValidateVectorBufferVisitor, null)
    checkOffsets(vector)
  }

  /** No offset is below zero, or below the one before. */
  private def checkOffsets(vector: FieldVector): Unit = {
    val count = vector.getValueCount
    if (count > 0) vector match {
      case _: ListVector | _: BaseVariableWidthVector =>
        val offsets = vector.getOffsetBuffer
        grow(count, i => offsets.getInt(4L * i).toLong)
      case _: LargeListVector | _: BaseLargeVariableWidthVector =>
        val offsets = vector.getOffsetBuffer
        grow(count, i => offsets.getLong(8L * i))
      case _ =>
    }
    vector.getChildrenFromFields.forEach(checkOffsets(_))
  }

  private def grow(count: Int, offset: Int => Long): Unit = {
    var last = 0L
    var i = 0
    while (i <= count) {
      val next = offset(i)
      require(next >= last, s"offset $i is $next, after $last")
      last = next
      i += 1
    }
  }
}
