// SPDX-License-Identifier: Apache-2.0
package io.sparkmodel.call

import scala.jdk.CollectionConverters._
import scala.util.Try

import io.sparkmodel.wire.{Handle, Inputs, Schemas}
import org.apache.arrow.vector.types.pojo.ArrowType
import org.apache.spark.sql.sparkmodel.CatalystInternals
import org.apache.spark.sql.types._

/** One input of a model; no name in an unnamed signature, no type where any goes. */
case class Input(name: Option[String], dataType: Option[DataType], required: Boolean) {
  override def toString: String = (name ++ Some(dataType.fold("any")(_.sql))).mkString(" ")
}

object Signatures {

  /** The inputs of a model's signature, None if it has none. */
  def of(handle: Handle): Option[Seq[Input]] = handle.contract.inputs.map(read).filter(_.nonEmpty)

  /** What a binding knows of the model of a handle. */
  def takes(handle: Handle): Takes = Takes(
    handle.name,
    of(handle),
    handle.contract.inputs.exists(i => i.hasTensors && read(i).size == 1),
    handle.contract.inputs.exists(_.likeMlflow))

  /**
   * The names of a handle's inputs for columns that go by position: which input each is, the plan settles, so that a
   * version with its inputs in another order gets them right. None where position says something else, or does not
   * fit: a worker tells what is wrong.
   */
  def namesOf(handle: Handle, columns: Seq[DataType]): Option[Seq[String]] =
    handle.contract.inputs.filterNot(_.hasTensors).map(read).filter { inputs =>
      val isRow = columns.size == 1 && inputs.size > 1 && isCompound(columns.head)
      val names = inputs.flatMap(_.name).distinct
      names.size == inputs.size && columns.nonEmpty && columns.size <= inputs.size && !isRow &&
      !inputs.drop(columns.size).exists(_.required)
    }.map(_.take(columns.size).flatMap(_.name))

  private def isCompound(dataType: DataType): Boolean = dataType match {
    case _: ArrayType | _: StructType | _: UserDefinedType[_] => true
    case _ => false
  }

  def rowOf(columns: Seq[(String, DataType)]): StructType =
    StructType(columns.map { case (name, dataType) => StructField(name, dataType) })

  /** Whether a row has fields of the one input, which is a struct, rather than the input itself: a worker puts them together. */
  def isObject(inputs: Seq[Input], row: StructType): Boolean = inputs match {
    case Seq(Input(Some(name), Some(wanted: StructType), _)) =>
      Names.places(name, row.fieldNames.toSeq).isEmpty && wanted.exists(f => row.fieldNames.contains(f.name)) &&
      canWiden(row, wanted)
    case _ => false
  }

  private def read(inputs: Inputs): Seq[Input] =
    Schemas.read(inputs.schema).getFields.asScala.toSeq.zip(inputs.required).map { case (field, required) =>
      val dataType = field.getType match {
        case _: ArrowType.Null => None
        case _ => Try(CatalystInternals.sparkType(field)).toOption // Spark has no unsigned integers or 16-bit floats
      }
      Input(Some(field.getName).filter(_.nonEmpty), dataType, required)
    }

  /** Whether values of one type may be cast to the other; each value is still checked when it is cast. */
  def canWiden(from: DataType, wanted: DataType): Boolean = (from, wanted) match {
    case (NullType, _) => true
    case (udt: UserDefinedType[_], _) if isVector(udt) => canWiden(ArrayType(DoubleType), wanted)
    case (udt: UserDefinedType[_], _) => canWiden(udt.sqlType, wanted)
    case (ArrayType(one, _), ArrayType(other, _)) => canWiden(one, other)
    case (one: StructType, other: StructType) =>
      other.forall { field => // what may be NULL may be left out
        one.fields.find(_.name == field.name).fold(field.nullable)(f => canWiden(f.dataType, field.dataType))
      }
    case (MapType(key, value, _), MapType(otherKey, otherValue, _)) =>
      canWiden(key, otherKey) && canWiden(value, otherValue)
    case (_, ByteType | ShortType | IntegerType | LongType) => isInteger(from)
    case (_, FloatType | DoubleType | _: DecimalType) => isNumber(from)
    case (_: StringType | _: CharType | _: VarcharType, _: StringType) => true
    case _ if isTime(wanted) => isTime(from)
    case _ => from == wanted
  }

  /** Whether one value is a whole row of numbers. */
  def isRowOfNumbers(dataType: DataType): Boolean = dataType match {
    case ArrayType(element, _) => isNumber(element)
    case udt: UserDefinedType[_] => isVector(udt)
    case _ => false
  }

  def elementOf(dataType: DataType): DataType = dataType match {
    case ArrayType(element, _) => element
    case _ => DoubleType
  }

  private def isVector(udt: UserDefinedType[_]): Boolean = udt.typeName == "vector" || udt.typeName == "vectorudt"

  // by name: Spark 4.3 has types of nanoseconds, which earlier ones have not
  private def isTime(dataType: DataType): Boolean = dataType == DateType || dataType.typeName.startsWith("timestamp")

  private def isInteger(dataType: DataType): Boolean = dataType match {
    case ByteType | ShortType | IntegerType | LongType => true
    case _ => false
  }

  private def isNumber(dataType: DataType): Boolean = dataType.isInstanceOf[NumericType]
}
